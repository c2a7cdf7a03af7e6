"""Say what was true, one after another, by keyboard: a picture a second.

GET /queue ─► items ─┬ the input alone, large; the model's answer stays hidden, so that it sways nobody
                     ├ 1–9, letters ─► PUT /predictions/{id}/label ─► next          the next ones are fetched meanwhile
                     ├ s ─► POST /queue/{id}/skip ─► next
                     └ u ─► back to the one before; another answer corrects it

A key press belongs to the picture that was on the screen: buttons carry the id of what they are about, and `label_keys.js` ignores
a key that is held, pressed twice before the next picture is there, or pressed before anybody can have seen it.
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
from relevo.console.components.model_picker import model_chosen
from relevo.console.markdown import escape_markdown
from relevo.errors import AuthenticationError, RelevoError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relevo.client import Client
    from relevo.console.session import Session

_SIDE = 512
_ASKED = 30
#: So many inputs are fetched before they are looked at.
_AHEAD = 6
_SKIP, _UNDO = "s", "u"
#: Streamlit keeps C and R for itself.
_LETTERS = "".join(one for one in string.ascii_lowercase if one not in "cr" + _SKIP + _UNDO)
_KEYS = "123456789" + _LETTERS


def show(here: Session) -> None:
    """The page."""
    words = here.words
    layout.heading(words["page.label"], words["label.lead"])
    name = model_chosen(here)
    if name is None:
        return
    if not here.is_at_least("labeler", name):
        layout.say(words["label.not_yours"], words["label.not_yours.next"])
        return
    st.fragment(_turn)(here, _Round.of(here, name))


class _Round:
    """The queue as it is being worked through; lives as long as the visit."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.items: list[dict[str, Any]] = []
        self.at = 0
        self.given: dict[str, str] = {}
        self.refusal: RelevoError | None = None
        #: How often a question was drawn; a browser tells by it whether what it shows is new.
        self.drawings = 0

    @classmethod
    def of(cls, here: Session, model: str) -> _Round:
        """The round of this model, with something to ask where there is anything."""
        rounds: dict[str, _Round] = st.session_state.setdefault("rounds", {})
        found = rounds.setdefault(model, cls(model))
        found.refill(here)
        return found

    @property
    def item(self) -> dict[str, Any] | None:
        """What is asked now."""
        return self.items[self.at] if self.at < len(self.items) else None

    def refill(self, here: Session) -> None:
        """Ask the server for more once all that is known was seen."""
        if self.item is not None:
            return
        found = here.client.ask("GET", "/queue", params={"model": self.model, "limit": _ASKED})["items"]
        known = {one["query_id"] for one in self.items}
        self.items.extend(one for one in found if one["query_id"] not in known)

    def answer(self, here: Session, query_id: str, value: str | float) -> None:
        """Keep the truth of this one if it is still what is asked, and go on."""
        if self._asks(query_id) and self._done(lambda: here.client.label(query_id, value)):
            self.given[query_id] = str(value)
            self.at += 1

    def skip(self, here: Session, query_id: str) -> None:
        """Leave this one to others if it is still what is asked, and go on."""
        if self._asks(query_id) and self._done(lambda: here.client.send("POST", f"/queue/{query_id}/skip")):
            self.at += 1

    def back(self, query_id: str) -> None:
        """To the one before this one, if it is still what is asked; an empty id is the end of the queue."""
        if self._asks(query_id):
            self.at = max(0, self.at - 1)

    def _asks(self, query_id: str) -> bool:
        # Race: a second press may have been sent before the browser was given the next picture.
        return query_id == ("" if self.item is None else self.item["query_id"])

    def _done(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except RelevoError as error:
            self.refusal = error
            return False
        self.refusal = None
        return True


def _turn(here: Session, turn: _Round) -> None:
    """One question. Runs alone at each key, without the rest of the page."""
    try:
        turn.refill(here)
        if isinstance(turn.refusal, AuthenticationError):
            raise turn.refusal
        _draw(here, turn)
    except AuthenticationError:
        layout.say_over(here.words)
    except UnavailableError:
        layout.say_away(here.words)


def _draw(here: Session, turn: _Round) -> None:
    words, item = here.words, turn.item
    if item is None:
        layout.say(words["label.none"], words["label.none.next" if not turn.given else "label.done.next"])
        if turn.at:
            _undo(here, turn, "")
        return
    seen = input_preview.one(here, item, _SIDE)
    _fetch_ahead(here, turn.items[turn.at + 1 : turn.at + 1 + _AHEAD])
    st.html('<script src="/label_keys.js"></script>', unsafe_allow_javascript=True)
    st.html(_progress(here, turn))
    asked, answer = st.columns([3, 2], gap="medium")
    with asked:
        labels = manifests.labels_of(manifests.manifest(here, item["model"], item["version"]))
        st.html(_question(here, turn, seen, labels))
    with answer:
        _answers(here, turn, item, labels)
        if turn.refusal is not None:
            layout.say_refused(words, turn.refusal)


def _progress(here: Session, turn: _Round) -> str:
    words, total = here.words, len(turn.items)
    told = words("label.progress", done=words.whole(len(turn.given)), left=words.whole(total - turn.at))
    share = 100 * turn.at / max(1, total)
    return f'<p class="rv-small">{layout.safe(told)}</p><div class="rv-progress"><div style="width:{share:.1f}%"></div></div>'


def _question(here: Session, turn: _Round, seen: input_preview.InputPreview, labels: Sequence[str]) -> str:
    words = here.words
    turn.drawings += 1
    keys = [*(keys_of(labels) if 0 < len(labels) <= len(_KEYS) else ["enter"]), _SKIP, _UNDO]
    if seen.picture:
        inside = input_preview.picture(seen, words["label.picture"])
    elif seen.values:
        inside = input_preview.facts(input_preview.values(seen.values, words))
    else:
        inside = f'<p class="rv-small">{layout.safe(words[seen.lack or "input.unreadable"])}</p>'
    return f'<div class="rv-ask" data-drawing="{turn.drawings}" data-keys="{" ".join(keys)}">{inside}</div>'


def _answers(here: Session, turn: _Round, item: Mapping[str, Any], labels: Sequence[str]) -> None:
    words = here.words
    why = layout.safe(words[f"why.{item['why']}"])
    st.html(f'<h2 class="rv-h2">{layout.safe(words["label.question"])}</h2><p class="rv-small">{why}</p>')
    if not labels:
        _number(here, turn, item)
    elif len(labels) <= len(_KEYS):
        _buttons(here, turn, labels, item["query_id"])
    else:
        _list(here, turn, labels, item)
    query_id = item["query_id"]
    with st.container(horizontal=True, key="ways"):
        skip = partial(turn.skip, here, query_id)
        st.button(words["label.skip"], shortcut=_SKIP, on_click=skip, type="tertiary", key=f"skip-{query_id}")
        _undo(here, turn, query_id)
    if turn.at:
        layout.small(_before(here, turn.items[turn.at - 1], turn))


def _undo(here: Session, turn: _Round, query_id: str) -> None:
    st.button(
        here.words["label.undo"], shortcut=_UNDO, on_click=partial(turn.back, query_id), disabled=turn.at == 0, type="tertiary",
        key=f"undo-{query_id}",
    )  # fmt: skip


def _buttons(here: Session, turn: _Round, labels: Sequence[str], query_id: str) -> None:
    keys, given = keys_of(labels), turn.given.get(query_id)
    own = keys == [label.lower() for label in labels]
    with st.container(key="choices-own" if own else "choices"):
        for label, key in zip(labels, keys, strict=True):
            st.button(
                escape_markdown(label), key=f"choice-{label}-{query_id}", shortcut=key, width="stretch",
                on_click=partial(turn.answer, here, query_id, label), type="primary" if label == given else "secondary",
            )  # fmt: skip


def _list(here: Session, turn: _Round, labels: Sequence[str], item: Mapping[str, Any]) -> None:
    words = here.words
    chosen = st.selectbox(
        words["label.question"], labels, index=None, placeholder=words["form.choose"], key=f"of-{item['query_id']}"
    )
    st.button(
        words["truth.save"],
        type="primary",
        shortcut="Enter",
        disabled=chosen is None,
        on_click=partial(turn.answer, here, item["query_id"], chosen or ""),
    )


def _number(here: Session, turn: _Round, item: Mapping[str, Any]) -> None:
    words = here.words
    value = st.number_input(words["label.question"], value=None, label_visibility="collapsed", key=f"of-{item['query_id']}")
    st.button(
        words["truth.save"],
        type="primary",
        shortcut="Enter",
        disabled=value is None,
        on_click=partial(turn.answer, here, item["query_id"], value or 0.0),
    )


def keys_of(labels: Sequence[str]) -> list[str]:
    """A key for each label: the label itself where all are single digits or free letters, else 1–9 and then letters."""
    own = [label.lower() for label in labels]
    if len(set(own)) == len(own) and all(one in string.digits + _LETTERS and len(one) == 1 for one in own):
        return own
    return list(_KEYS[: len(labels)])


def _before(here: Session, item: Mapping[str, Any], turn: _Round) -> str:
    """What became of the last one; only now is the model's answer told."""
    said = item["prediction"]
    told = here.words.number(said) if isinstance(said, float | int) else str(said)
    given = turn.given.get(item["query_id"])
    return here.words("label.before", given=given, said=told) if given else here.words("label.skipped", said=told)


def _fetch_ahead(here: Session, items: Sequence[Mapping[str, Any]]) -> None:
    """Have the next inputs at hand when their turn comes; on a thread, since nobody waits for them now."""
    lacking = input_preview.lacking(items, _SIDE)
    if lacking:
        threading.Thread(target=_fetch, args=(st.session_state["inputs"], here.client, lacking), daemon=True).start()


def _fetch(kept: dict[tuple[str, int], input_preview.InputPreview], client: Client, lacking: Sequence[Mapping[str, Any]]) -> None:
    # Whoever is not known any more is told by the page, when it asks for itself.
    with suppress(AuthenticationError):
        input_preview.fetch_into(kept, client, lacking, _SIDE)
