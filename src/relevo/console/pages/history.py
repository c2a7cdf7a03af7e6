"""The history page: all predictions, newest first, filtered and paginated by the database.

filters ─► GET /predictions?…&limit=24 ─► one card or table row each ─► click ─► detail dialog          older ─► next_cursor
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import filters, layout, manifests
from relevo.console.components import input_preview, prediction, prediction_detail
from relevo.console.components.model_picker import pick_model
from relevo.console.markdown import escape_markdown
from relevo.console.parquet import to_parquet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relevo.console.session import Session

_CARDS_PER_PAGE = 24
_ROWS_PER_PAGE = 50
_SIDE = 200  # pixels
#: Key of the prediction whose dialog was opened last.
_OPENED = "history-opened"


def show(session: Session) -> None:
    """Draws the page."""
    texts = session.texts
    layout.heading(texts["page.history"], texts["history.lead"])
    name = pick_model(session)
    if name is None:
        return
    model = session.client.request_json("GET", f"/models/{name}")
    manifest = manifests.load(session, name, model["serving"] or model["versions"])
    parameters = filters.show(session, model, manifest)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        as_cards = _select_view(session, manifest)
        _downloads(session, parameters, manifest)
    pager = _HistoryPager.current(parameters, as_cards=as_cards)
    page = session.client.history(limit=_CARDS_PER_PAGE if as_cards else _ROWS_PER_PAGE, cursor=pager.cursor, **parameters)
    if not page.items:
        unfiltered = parameters.keys() == {"model"}
        layout.show_empty_state(
            texts["history.none" if unfiltered else "history.nothing"],
            texts["history.none.next" if unfiltered else "history.nothing.next"],
        )
        return
    selected = (_gallery if as_cards else _table)(session, page.items, manifest)
    pager.buttons(session, page.next_cursor, len(page.items))
    _open(session, selected)


def _select_view(session: Session, manifest: Mapping[str, Any]) -> bool:
    """Whether to show cards with images rather than a table."""
    if manifest["input"]["type"] != "image":
        return False
    texts = session.texts
    view = st.segmented_control(
        texts["history.view"], ["pictures", "table"], default="pictures", required=True, label_visibility="collapsed",
        format_func=lambda name: texts[f"history.{name}"], key="history-view",
    )  # fmt: skip
    return view == "pictures"


def _open(session: Session, selected: str | None) -> None:
    """Opens the dialog of the selected prediction, or once that of the id in the address."""
    requested = st.query_params.get("id")
    if selected is None and requested is not None and st.session_state.get(_OPENED) != requested:
        selected = requested
    if selected is not None:
        st.session_state[_OPENED] = selected
        prediction_detail.show(session, selected)


def _gallery(session: Session, rows: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> str | None:
    selected = None
    previews = input_preview.load_many(session, rows, _SIDE)
    with st.container(horizontal=True, gap="small", key="gallery"):
        for row, preview in zip(rows, previews, strict=True):
            with st.container(width=150, gap=None, key=f"card-{row['query_id']}"):
                st.html(_card(session, row, preview, manifest))
                value = prediction.short(prediction.PredictionOut.from_row(row, manifest), session.texts)
                if st.button(session.texts("history.open", label=escape_markdown(value)), key=f"open-{row['query_id']}"):
                    selected = str(row["query_id"])
    return selected


def _card(session: Session, row: Mapping[str, Any], preview: input_preview.InputPreview, manifest: Mapping[str, Any]) -> str:
    texts, view = session.texts, prediction.PredictionOut.from_row(row, manifest)
    value = prediction.short(view, texts)
    content = (
        input_preview.image_tag(preview, "")
        if preview.picture
        else f'<span class="none">{layout.escape(texts[preview.missing_reason or "input.unreadable"])}</span>'
    )
    share = f"{(view.confidence or 0) * 100:.1f}%"
    return (
        f'<div class="rv-thumb{" unsure" if view.uncertain else ""}"><div class="pic">{content}</div><div class="under">'
        f'<div class="row"><b>{layout.escape(value)}</b><small>{layout.escape(texts.percent(view.confidence))}</small></div>'
        f'<div class="lane"><div class="share" style="width:{share}"></div></div>'
        f"{_label_line(row, value, texts['history.no_label'])}</div></div>"
    )


def _label_line(row: Mapping[str, Any], value: str, no_label: str) -> str:
    label = row["label"]
    if label is None:
        return f'<div class="row"><small>{layout.escape(no_label)}</small></div>'
    style, mark = ("rv-right", "✓") if label == value else ("rv-wrong", "✗")
    return f'<div class="row"><small class="{style}">{mark} {layout.escape(str(label))}</small></div>'


def _table(session: Session, rows: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> str | None:
    texts = session.texts
    columns = {
        texts["history.at"]: [texts.moment(row["at"], st.context.timezone, seconds=True) for row in rows],
        texts["history.answer"]: [_value_text(session, row, manifest) for row in rows],
        texts["history.confidence"]: [row["confidence"] for row in rows],
        texts["history.label"]: [row["label"] or "" for row in rows],
        texts["history.version"]: [row["version"] for row in rows],
    }
    if not manifests.labels(manifest):
        del columns[texts["history.confidence"]]
    table = st.dataframe(
        columns,
        hide_index=True,
        height="content",
        row_height=38,
        on_select="rerun",
        selection_mode="single-row",
        key=f"rows-{rows[0]['query_id']}",
        column_config={
            texts["history.confidence"]: st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent", width="medium")
        },
    )
    indexes = table["selection"]["rows"]
    selected = str(rows[indexes[0]]["query_id"]) if indexes else None
    if selected is None and "id" not in st.query_params:
        # After deselection the same row can be opened again.
        st.session_state.pop(_OPENED, None)
    return None if selected is None or st.session_state.get(_OPENED) == selected else selected


def _value_text(session: Session, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    if row["error"]:
        return session.texts["history.failed"]
    value = prediction.short(prediction.PredictionOut.from_row(row, manifest), session.texts)
    return f"{value} ({session.texts['answer.uncertain'].lower()})" if row["uncertain"] else value


class _HistoryPager:
    """Pagination of the history: cursors and numbers of the previous pages. Lifetime: until the filters change."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    @classmethod
    def current(cls, parameters: Mapping[str, str], *, as_cards: bool) -> _HistoryPager:
        """The pager of this browser session; starts at the first page when the parameters change."""
        query = (tuple(sorted(parameters.items())), as_cards)
        state: dict[str, Any] = st.session_state.setdefault("history-pager", {"query": None, "cursors": []})
        if state["query"] != query:
            state.update(query=query, cursors=[])
        return cls(state)

    @property
    def cursor(self) -> str | None:
        """The cursor of this page; None for the first page."""
        return self._state["cursors"][-1][0] if self._state["cursors"] else None

    def buttons(self, session: Session, next_cursor: str | None, count: int) -> None:
        """Buttons for newer and older predictions. count: rows of this page."""
        texts, cursors = session.texts, self._state["cursors"]
        first = cursors[-1][1] if cursors else 1
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="center", key="turn"):
            # Streamlit shows the shortcut keys, which are arrows, on the buttons.
            st.button(texts["history.newer"], disabled=not cursors, on_click=self._previous, shortcut="Left", key="newer")
            layout.caption(texts("history.page", first=texts.integer(first), last=texts.integer(first + count - 1)))
            st.button(
                texts["history.older"],
                disabled=next_cursor is None,
                on_click=self._next,
                args=(next_cursor, first + count),
                shortcut="Right",
            )

    def _previous(self) -> None:
        self._state["cursors"].pop()

    def _next(self, cursor: str, first: int) -> None:
        self._state["cursors"].append((cursor, first))


def _downloads(session: Session, parameters: Mapping[str, str], manifest: Mapping[str, Any]) -> None:
    """Download buttons for all filtered predictions, not only this page; a file is created on click."""
    texts = session.texts
    if not session.is_at_least("operator", parameters["model"]):
        return
    with st.container(horizontal=True, width="content", gap="small"):
        for kind, create in (("csv", _csv), ("parquet", partial(_parquet, numbers=not manifests.labels(manifest)))):
            st.download_button(
                texts[f"history.{kind}"], partial(create, session, parameters), f"{parameters['model']}.{kind}", on_click="ignore",
                icon=":material/download:", type="tertiary", key=f"download-{kind}",
            )  # fmt: skip


def _csv(session: Session, parameters: Mapping[str, str]) -> bytes:
    return session.client.download("/predictions.csv", **parameters)[1]


def _parquet(session: Session, parameters: Mapping[str, str], *, numbers: bool) -> bytes:
    return to_parquet(_csv(session, parameters), numbers=numbers)
