"""Everything that was answered, newest first: narrowed and paged by the database, one page here.

filters ─► GET /predictions?…&limit=24 ─► a card or a row each ─► click ─► detail          older ─► next_cursor
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import filters, layout, manifests
from relevo.console.components import input_preview, prediction, prediction_detail
from relevo.console.components.model_picker import model_chosen
from relevo.console.markdown import escape_markdown
from relevo.console.parquet import as_parquet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relevo.console.session import Session

_PICTURES = 24
_ROWS = 50
_SIDE = 200
_COLUMNS = 6
_SHOWN = "history-shown"


def show(here: Session) -> None:
    """The page."""
    words = here.words
    layout.heading(words["page.history"], words["history.lead"])
    name = model_chosen(here)
    if name is None:
        return
    model = here.client.ask("GET", f"/models/{name}")
    manifest = manifests.manifest(here, name, model["serving"] or model["versions"])
    wanted = filters.ask(here, model, manifest)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        pictures = _in_pictures(here, manifest)
        _downloads(here, wanted, manifest)
    turn = _Turn.of(wanted, pictures=pictures)
    page = here.client.history(limit=_PICTURES if pictures else _ROWS, cursor=turn.cursor, **wanted)
    if not page.items:
        lone = wanted.keys() == {"model"}
        layout.say(
            words["history.none" if lone else "history.nothing"], words["history.none.next" if lone else "history.nothing.next"]
        )
        return
    chosen = (_gallery if pictures else _table)(here, page.items, manifest)
    turn.buttons(here, page.next_cursor, len(page.items))
    _open(here, chosen)


def _in_pictures(here: Session, manifest: Mapping[str, Any]) -> bool:
    if manifest["input"]["type"] != "image":
        return False
    words = here.words
    view = st.segmented_control(
        words["history.view"], ["pictures", "table"], default="pictures", required=True, label_visibility="collapsed",
        format_func=lambda one: words[f"history.{one}"], key="history-view",
    )  # fmt: skip
    return view == "pictures"


def _open(here: Session, chosen: str | None) -> None:
    """A click opens one; so does its number in the address, once."""
    asked = st.query_params.get("id")
    if chosen is None and asked is not None and st.session_state.get(_SHOWN) != asked:
        chosen = asked
    if chosen is not None:
        st.session_state[_SHOWN] = chosen
        prediction_detail.show(here, chosen)


def _gallery(here: Session, rows: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> str | None:
    chosen = None
    seen = input_preview.many(here, rows, _SIDE)
    with st.container(horizontal=True, gap="small", key="gallery"):
        for row, one in zip(rows, seen, strict=True):
            with st.container(width=150, gap=None, key=f"card-{row['query_id']}"):
                st.html(_card(here, row, one, manifest))
                said = prediction.short(prediction.Told.of_row(row, manifest), here.words)
                if st.button(here.words("history.open", label=escape_markdown(said)), key=f"open-{row['query_id']}"):
                    chosen = str(row["query_id"])
    return chosen


def _card(here: Session, row: Mapping[str, Any], seen: input_preview.InputPreview, manifest: Mapping[str, Any]) -> str:
    words, told = here.words, prediction.Told.of_row(row, manifest)
    said = prediction.short(told, words)
    sight = (
        input_preview.picture(seen, "")
        if seen.picture
        else f'<span class="none">{layout.safe(words[seen.lack or "input.unreadable"])}</span>'
    )
    share = f"{(told.confidence or 0) * 100:.1f}%"
    return (
        f'<div class="rv-thumb{" unsure" if told.uncertain else ""}"><div class="pic">{sight}</div><div class="under">'
        f'<div class="row"><b>{layout.safe(said)}</b><small>{layout.safe(words.percent(told.confidence))}</small></div>'
        f'<div class="lane"><div class="share" style="width:{share}"></div></div>'
        f"{_truth(row, said, words['history.no_label'])}</div></div>"
    )


def _truth(row: Mapping[str, Any], said: str, none: str) -> str:
    label = row["label"]
    if label is None:
        return f'<div class="row"><small>{layout.safe(none)}</small></div>'
    kind, sign = ("rv-right", "✓") if label == said else ("rv-wrong", "✗")
    return f'<div class="row"><small class="{kind}">{sign} {layout.safe(str(label))}</small></div>'


def _table(here: Session, rows: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> str | None:
    words = here.words
    columns = {
        words["history.at"]: [words.moment(row["at"], st.context.timezone, seconds=True) for row in rows],
        words["history.answer"]: [_said(here, row, manifest) for row in rows],
        words["history.confidence"]: [row["confidence"] for row in rows],
        words["history.label"]: [row["label"] or "" for row in rows],
        words["history.version"]: [row["version"] for row in rows],
    }
    if not manifests.labels_of(manifest):
        del columns[words["history.confidence"]]
    kept = st.dataframe(
        columns,
        hide_index=True,
        height="content",
        row_height=38,
        on_select="rerun",
        selection_mode="single-row",
        key=f"rows-{rows[0]['query_id']}",
        column_config={
            words["history.confidence"]: st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent", width="medium")
        },
    )
    chosen = kept["selection"]["rows"]
    picked = str(rows[chosen[0]]["query_id"]) if chosen else None
    if picked is None and "id" not in st.query_params:
        # Let go of, a row may be opened once more.
        st.session_state.pop(_SHOWN, None)
    return None if picked is None or st.session_state.get(_SHOWN) == picked else picked


def _said(here: Session, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    if row["error"]:
        return here.words["history.failed"]
    said = prediction.short(prediction.Told.of_row(row, manifest), here.words)
    return f"{said} ({here.words['answer.uncertain'].lower()})" if row["uncertain"] else said


class _Turn:
    """Where in the history the page stands: the cursors that led here; kept while the filters stay."""

    def __init__(self, kept: dict[str, Any]) -> None:
        self._kept = kept

    @classmethod
    def of(cls, wanted: Mapping[str, str], *, pictures: bool) -> _Turn:
        """Begins anew when something else is wanted."""
        what = (tuple(sorted(wanted.items())), pictures)
        kept: dict[str, Any] = st.session_state.setdefault("history-turn", {"what": None, "cursors": []})
        if kept["what"] != what:
            kept.update(what=what, cursors=[])
        return cls(kept)

    @property
    def cursor(self) -> str | None:
        """Where this page begins; None for the newest."""
        return self._kept["cursors"][-1][0] if self._kept["cursors"] else None

    def buttons(self, here: Session, after: str | None, shown: int) -> None:
        """The way to newer and older ones."""
        words, cursors = here.words, self._kept["cursors"]
        first = cursors[-1][1] if cursors else 1
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="center", key="turn"):
            # The keys are shown by Streamlit, and are arrows already.
            st.button(words["history.newer"], disabled=not cursors, on_click=self._back, shortcut="Left", key="newer")
            layout.small(words("history.page", first=words.whole(first), last=words.whole(first + shown - 1)))
            st.button(
                words["history.older"], disabled=after is None, on_click=self._on, args=(after, first + shown), shortcut="Right"
            )

    def _back(self) -> None:
        self._kept["cursors"].pop()

    def _on(self, cursor: str, first: int) -> None:
        self._kept["cursors"].append((cursor, first))


def _downloads(here: Session, wanted: Mapping[str, str], manifest: Mapping[str, Any]) -> None:
    """All that the filters let through, not only this page; made when it is asked for."""
    words = here.words
    if not here.is_at_least("operator", wanted["model"]):
        return
    with st.container(horizontal=True, width="content", gap="small"):
        for kind, make in (("csv", _csv), ("parquet", partial(_parquet, numbers=not manifests.labels_of(manifest)))):
            st.download_button(
                words[f"history.{kind}"], partial(make, here, wanted), f"{wanted['model']}.{kind}", on_click="ignore",
                icon=":material/download:", type="tertiary", key=f"download-{kind}",
            )  # fmt: skip


def _csv(here: Session, wanted: Mapping[str, str]) -> bytes:
    return here.client.file("/predictions.csv", **wanted)[1]


def _parquet(here: Session, wanted: Mapping[str, str], *, numbers: bool) -> bytes:
    return as_parquet(_csv(here, wanted), numbers=numbers)
