"""The form that labels a prediction as right, or as wrong with the true value; on the classify page and in the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout, manifests
from relevo.errors import RelevoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.console.session import Session


def show(session: Session, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> str | None:
    """Draws the form, and returns the label if this run has saved one. Draws nothing for users who may not label.

    row: has query_id, model, prediction.
    """
    if not session.is_at_least("labeler", row["model"]):
        return None
    texts, labels, query_id = session.texts, manifests.labels(manifest), row["query_id"]
    label: str | float | None = None
    other: str | float | None
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"truth-{query_id}"):
        if st.button(texts["truth.right"], key=f"right-{query_id}", icon=":material/check:"):
            label = row["prediction"]
        if labels:
            others = [name for name in labels if name != row["prediction"]]
            other = st.selectbox(
                texts["truth.wrong"], others, index=None, placeholder=texts["truth.which"], key=f"other-{query_id}", width=220,
                label_visibility="collapsed",
            )  # fmt: skip
        else:
            other = st.number_input(
                texts["truth.wrong"], value=None, placeholder=texts["truth.number"], key=f"other-{query_id}", width=220,
                label_visibility="collapsed",
            )  # fmt: skip
        if other is not None and st.button(texts["truth.save"], key=f"save-{query_id}", type="primary"):
            label = other
    return None if label is None else _save(session, query_id, label)


def _save(session: Session, query_id: str, value: str | float) -> str | None:
    """Sends the label to the server; shows the error if the server rejects it."""
    try:
        label = session.client.label(query_id, value)
    except RelevoError as error:
        layout.show_error(session.texts, error)
        return None
    return str(label["value"])
