"""The dialog with one prediction in full: its input, the predicted value, its labels and its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout, manifests
from relevo.console.components import input_preview, label_form, prediction
from relevo.errors import RelevoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.console.session import Session

_SIDE = 720  # pixels


def show(session: Session, query_id: str) -> None:
    """Opens the dialog. For an unknown prediction it shows the error."""
    # The title is an argument of the decorator and depends on the language, so the dialog is created when it opens.
    st.dialog(session.texts["detail.title"], width="medium")(_show_dialog)(session, query_id)


def _show_dialog(session: Session, query_id: str) -> None:
    try:
        row = session.client.prediction(query_id)
        manifest = manifests.load(session, row["model"], row["version"])
        _draw(session, row, manifest)
    except RelevoError as error:
        layout.show_error(session.texts, error)


def _draw(session: Session, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    texts = session.texts
    input_column, output_column = st.columns(2, gap="medium")
    with input_column:
        preview = input_preview.load(session, row, _SIDE)
        st.html(f'<h2 class="rv-h2">{layout.escape(texts["detail.asked"])}</h2>')
        st.html(input_preview.render(preview, texts, row["query_id"]))
        st.html(input_preview.definition_list(_metadata(session, row)))
    with output_column:
        if row["error"]:
            st.html(f'<div class="rv-refusal"><p>{layout.escape(texts("detail.error", code=row["error"]))}</p></div>')
        else:
            st.html(prediction.card(prediction.PredictionOut.from_row(row, manifest), texts))
        _labels(session, row, manifest)


def _metadata(session: Session, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    texts = session.texts
    return [
        (texts["detail.when"], texts.moment(row["at"], st.context.timezone, seconds=True)),
        (texts["detail.model"], f"{row['model']} {row['version']}"),
        (texts["detail.latency"], f"{texts.number(row['latency_ms'], digits=3)} ms"),
        (texts["detail.arm"], str(row["arm"])),
        (texts["detail.requested_by"], str(row.get("requested_by_name") or row.get("requested_by") or texts["detail.anybody"])),
        (texts["detail.id"], str(row["query_id"])),
    ]


def _labels(session: Session, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    texts = session.texts
    st.html(f'<h2 class="rv-h2">{layout.escape(texts["detail.truth"])}</h2>')
    placeholder = st.empty()
    label_form.show(session, row, manifest)
    labels = session.client.labels(row["query_id"])
    if not labels:
        placeholder.html(f'<p class="rv-small">{layout.escape(texts["detail.no_truth"])}</p>')
        return
    entries = "".join(_entry(session, label, past=index > 0) for index, label in enumerate(reversed(labels)))
    placeholder.html(f'<ul class="rv-said">{entries}</ul>')


def _entry(session: Session, label: Mapping[str, Any], *, past: bool) -> str:
    origin = layout.escape(_origin(session, label))
    return f'<li class="{"past" if past else ""}"><b>{layout.escape(str(label["value"]))}</b><small>{origin}</small></li>'


def _origin(session: Session, label: Mapping[str, Any]) -> str:
    at = session.texts.moment(label["at"], st.context.timezone)
    return session.texts("detail.given", author=label["author"], source=label["source"], at=at)
