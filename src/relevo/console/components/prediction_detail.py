"""One prediction in full, over the page: what was asked, what was said, what it really was, and how it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout, manifests
from relevo.console.components import input_preview, label_form, prediction
from relevo.errors import RelevoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.console.session import Session

_SIDE = 720


def show(here: Session, query_id: str) -> None:
    """Open it. A prediction that is not there is said to be so, in the same place."""
    # The title of a dialog belongs to its decorator, and speaks the visitor's language: so it is made when it opens.
    st.dialog(here.words["detail.title"], width="medium")(_told)(here, query_id)


def _told(here: Session, query_id: str) -> None:
    try:
        row = here.client.prediction(query_id)
        manifest = manifests.manifest(here, row["model"], row["version"])
        _draw(here, row, manifest)
    except RelevoError as error:
        layout.say_refused(here.words, error)


def _draw(here: Session, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    words = here.words
    given, told = st.columns(2, gap="medium")
    with given:
        seen = input_preview.one(here, row, _SIDE)
        st.html(f'<h2 class="rv-h2">{layout.safe(words["detail.asked"])}</h2>')
        st.html(input_preview.shown(seen, words, row["query_id"]))
        st.html(input_preview.facts(_facts(here, row)))
    with told:
        if row["error"]:
            st.html(f'<div class="rv-refusal"><p>{layout.safe(words("detail.error", code=row["error"]))}</p></div>')
        else:
            st.html(prediction.card(prediction.Told.of_row(row, manifest), words))
        _truth(here, row, manifest)


def _facts(here: Session, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    words = here.words
    return [
        (words["detail.when"], words.moment(row["at"], st.context.timezone, seconds=True)),
        (words["detail.model"], f"{row['model']} {row['version']}"),
        (words["detail.latency"], f"{words.number(row['latency_ms'], digits=3)} ms"),
        (words["detail.arm"], str(row["arm"])),
        (words["detail.asked_by"], str(row.get("asked_by_name") or row.get("asked_by") or words["detail.anybody"])),
        (words["detail.id"], str(row["query_id"])),
    ]


def _truth(here: Session, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    words = here.words
    st.html(f'<h2 class="rv-h2">{layout.safe(words["detail.truth"])}</h2>')
    place = st.empty()
    label_form.ask(here, row, manifest)
    given = here.client.labels(row["query_id"])
    if not given:
        place.html(f'<p class="rv-small">{layout.safe(words["detail.no_truth"])}</p>')
        return
    entries = "".join(_entry(here, one, past=at > 0) for at, one in enumerate(reversed(given)))
    place.html(f'<ul class="rv-said">{entries}</ul>')


def _entry(here: Session, label: Mapping[str, Any], *, past: bool) -> str:
    who = layout.safe(_by(here, label))
    return f'<li class="{"past" if past else ""}"><b>{layout.safe(str(label["value"]))}</b><small>{who}</small></li>'


def _by(here: Session, label: Mapping[str, Any]) -> str:
    at = here.words.moment(label["at"], st.context.timezone)
    return here.words("detail.given", author=label["author"], source=label["source"], at=at)
