"""The label page: labels the predictions of the queue by keyboard, one input at a time, about one per second.

GET /queue ─► items ─┬ the input alone, large; the prediction is hidden so that it does not bias the label
                     ├ 1–9, letters ─► PUT /predictions/{id}/label ─► next          prefetches the next inputs
                     ├ s ─► POST /queue/{id}/skip ─► next
                     └ u ─► previous input; another label corrects the first one

A key press applies to the input that was on the screen: buttons carry the id of their prediction, and `label_keys.js` ignores a key
that is held down, pressed twice before the next input is shown, or pressed too soon for a person to have seen the input.
"""

from __future__ import annotations

import string
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout, manifests
from relevo.console.components import input_preview
from relevo.console.components.model_picker import pick_model
from relevo.console.markdown import escape_markdown
from relevo.errors import AuthenticationError, RelevoError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relevo.client import Client
    from relevo.console.session import Session

_SIDE = 512  # pixels
_QUEUE_SIZE = 30
#: Number of inputs that are prefetched.
_PREFETCH = 6
_SKIP, _UNDO = "s", "u"
#: Without C and R, which are shortcuts of Streamlit.
_LETTERS = "".join(letter for letter in string.ascii_lowercase if letter not in "cr" + _SKIP + _UNDO)
_KEYS = "123456789" + _LETTERS


def show(session: Session) -> None:
    """Draws the page."""
    texts = session.texts
    layout.heading(texts["page.label"], texts["label.lead"])
    name = pick_model(session)
    if name is None:
        return
    if not session.is_at_least("labeler", name):
        layout.show_empty_state(texts["label.not_yours"], texts["label.not_yours.next"])
        return
    st.fragment(_show_item)(session, LabelingSession.current(session, name))


class LabelingSession:
    """The queue of one model and the position in it. Lifetime: the browser session."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.items: list[dict[str, Any]] = []
        self.position = 0
        self.labels: dict[str, str] = {}
        self.error: RelevoError | None = None
        #: Number of inputs drawn so far; the browser detects a new one by it.
        self.drawings = 0

    @classmethod
    def current(cls, session: Session, model: str) -> LabelingSession:
        """The labeling session of this model, refilled from the queue."""
        labelings: dict[str, LabelingSession] = st.session_state.setdefault("labelings", {})
        labeling = labelings.setdefault(model, cls(model))
        labeling.refill(session)
        return labeling

    @property
    def item(self) -> dict[str, Any] | None:
        """The current item; None at the end of the queue."""
        return self.items[self.position] if self.position < len(self.items) else None

    def refill(self, session: Session) -> None:
        """Requests more items at the end of the queue."""
        if self.item is not None:
            return
        items = session.client.request_json("GET", "/queue", params={"model": self.model, "limit": _QUEUE_SIZE})["items"]
        known = {item["query_id"] for item in self.items}
        self.items.extend(item for item in items if item["query_id"] not in known)

    def label(self, session: Session, query_id: str, value: str | float) -> None:
        """Saves the label and moves on, if this is still the current item."""
        if self._is_current(query_id) and self._attempt(lambda: session.client.label(query_id, value)):
            self.labels[query_id] = str(value)
            self.position += 1

    def skip(self, session: Session, query_id: str) -> None:
        """Skips the item and moves on, if this is still the current item."""
        if self._is_current(query_id) and self._attempt(lambda: session.client.request("POST", f"/queue/{query_id}/skip")):
            self.position += 1

    def back(self, query_id: str) -> None:
        """Moves to the previous item, if this is still the current item; an empty id is the end of the queue."""
        if self._is_current(query_id):
            self.position = max(0, self.position - 1)

    def _is_current(self, query_id: str) -> bool:
        # Race: a second key press may have been sent before the browser received the next input.
        return query_id == ("" if self.item is None else self.item["query_id"])

    def _attempt(self, request: Callable[[], object]) -> bool:
        """Sends the request and stores its error; returns whether it succeeded."""
        try:
            request()
        except RelevoError as error:
            self.error = error
            return False
        self.error = None
        return True


def _show_item(session: Session, labeling: LabelingSession) -> None:
    """Draws one item. A fragment: after a key press it runs without the rest of the page."""
    try:
        labeling.refill(session)
        if isinstance(labeling.error, AuthenticationError):
            raise labeling.error
        _draw(session, labeling)
    except AuthenticationError:
        layout.show_session_expired(session.texts)
    except UnavailableError:
        layout.show_server_unavailable(session.texts)


def _draw(session: Session, labeling: LabelingSession) -> None:
    texts, item = session.texts, labeling.item
    if item is None:
        layout.show_empty_state(texts["label.none"], texts["label.none.next" if not labeling.labels else "label.done.next"])
        if labeling.position:
            _undo(session, labeling, "")
        return
    preview = input_preview.load(session, item, _SIDE)
    _prefetch(session, labeling.items[labeling.position + 1 : labeling.position + 1 + _PREFETCH])
    st.html('<script src="/label_keys.js"></script>', unsafe_allow_javascript=True)
    st.html(_progress(session, labeling))
    input_column, label_column = st.columns([3, 2], gap="medium")
    with input_column:
        labels = manifests.labels(manifests.load(session, item["model"], item["version"]))
        st.html(_input_html(session, labeling, preview, labels))
    with label_column:
        _label_widgets(session, labeling, item, labels)
        if labeling.error is not None:
            layout.show_error(texts, labeling.error)


def _progress(session: Session, labeling: LabelingSession) -> str:
    texts, total = session.texts, len(labeling.items)
    progress = texts("label.progress", done=texts.integer(len(labeling.labels)), left=texts.integer(total - labeling.position))
    share = 100 * labeling.position / max(1, total)
    return f'<p class="rv-small">{layout.escape(progress)}</p><div class="rv-progress"><div style="width:{share:.1f}%"></div></div>'


def _input_html(session: Session, labeling: LabelingSession, preview: input_preview.InputPreview, labels: Sequence[str]) -> str:
    texts = session.texts
    labeling.drawings += 1
    keys = [*(assign_keys(labels) if 0 < len(labels) <= len(_KEYS) else ["enter"]), _SKIP, _UNDO]
    if preview.picture:
        content = input_preview.image_tag(preview, texts["label.picture"])
    elif preview.values:
        content = input_preview.definition_list(input_preview.format_record(preview.values, texts))
    else:
        content = f'<p class="rv-small">{layout.escape(texts[preview.missing_reason or "input.unreadable"])}</p>'
    return f'<div class="rv-ask" data-drawing="{labeling.drawings}" data-keys="{" ".join(keys)}">{content}</div>'


def _label_widgets(session: Session, labeling: LabelingSession, item: Mapping[str, Any], labels: Sequence[str]) -> None:
    texts = session.texts
    reason = layout.escape(texts[f"why.{item['reason']}"])
    st.html(f'<h2 class="rv-h2">{layout.escape(texts["label.question"])}</h2><p class="rv-small">{reason}</p>')
    if not labels:
        _number(session, labeling, item)
    elif len(labels) <= len(_KEYS):
        _buttons(session, labeling, labels, item["query_id"])
    else:
        _select(session, labeling, labels, item)
    query_id = item["query_id"]
    with st.container(horizontal=True, key="ways"):
        skip = partial(labeling.skip, session, query_id)
        st.button(texts["label.skip"], shortcut=_SKIP, on_click=skip, type="tertiary", key=f"skip-{query_id}")
        _undo(session, labeling, query_id)
    if labeling.position:
        layout.caption(_previous_result(session, labeling.items[labeling.position - 1], labeling))


def _undo(session: Session, labeling: LabelingSession, query_id: str) -> None:
    st.button(
        session.texts["label.undo"], shortcut=_UNDO, on_click=partial(labeling.back, query_id),
        disabled=labeling.position == 0, type="tertiary", key=f"undo-{query_id}",
    )  # fmt: skip


def _buttons(session: Session, labeling: LabelingSession, labels: Sequence[str], query_id: str) -> None:
    keys, current = assign_keys(labels), labeling.labels.get(query_id)
    are_labels = keys == [label.lower() for label in labels]
    with st.container(key="choices-own" if are_labels else "choices"):
        for label, key in zip(labels, keys, strict=True):
            st.button(
                escape_markdown(label), key=f"choice-{label}-{query_id}", shortcut=key, width="stretch",
                on_click=partial(labeling.label, session, query_id, label), type="primary" if label == current else "secondary",
            )  # fmt: skip


def _select(session: Session, labeling: LabelingSession, labels: Sequence[str], item: Mapping[str, Any]) -> None:
    texts = session.texts
    selected = st.selectbox(
        texts["label.question"], labels, index=None, placeholder=texts["form.choose"], key=f"of-{item['query_id']}"
    )
    st.button(
        texts["truth.save"],
        type="primary",
        shortcut="Enter",
        disabled=selected is None,
        on_click=partial(labeling.label, session, item["query_id"], selected or ""),
    )


def _number(session: Session, labeling: LabelingSession, item: Mapping[str, Any]) -> None:
    texts = session.texts
    value = st.number_input(texts["label.question"], value=None, label_visibility="collapsed", key=f"of-{item['query_id']}")
    st.button(
        texts["truth.save"],
        type="primary",
        shortcut="Enter",
        disabled=value is None,
        on_click=partial(labeling.label, session, item["query_id"], value or 0.0),
    )


def assign_keys(labels: Sequence[str]) -> list[str]:
    """A key for each label: the label itself if all are single digits or free letters, else 1–9 and then letters."""
    own = [label.lower() for label in labels]
    if len(set(own)) == len(own) and all(key in string.digits + _LETTERS and len(key) == 1 for key in own):
        return own
    return list(_KEYS[: len(labels)])


def _previous_result(session: Session, item: Mapping[str, Any], labeling: LabelingSession) -> str:
    """The label of the previous item; only now together with the prediction."""
    prediction = item["prediction"]
    value = session.texts.number(prediction) if isinstance(prediction, float | int) else str(prediction)
    label = labeling.labels.get(item["query_id"])
    return session.texts("label.before", given=label, said=value) if label else session.texts("label.skipped", said=value)


def _prefetch(session: Session, items: Sequence[Mapping[str, Any]]) -> None:
    """Loads the previews of the next items in a thread."""
    missing = input_preview.missing(items, _SIDE)
    if missing:
        threading.Thread(target=_fetch, args=(st.session_state["inputs"], session.client, missing), daemon=True).start()


def _fetch(cache: dict[tuple[str, int], input_preview.InputPreview], client: Client, rows: Sequence[Mapping[str, Any]]) -> None:
    # An expired session is reported by the next run of the page.
    with suppress(AuthenticationError):
        input_preview.fetch_into(cache, client, rows, _SIDE)
