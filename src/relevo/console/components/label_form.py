"""Saying what was true: right, or wrong and it is … ; the same under a fresh answer and in the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout, manifests
from relevo.errors import RelevoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.console.session import Session


def ask(here: Session, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> str | None:
    """Buttons to say the truth of a prediction; gives it when it was kept just now. Nothing for who may not label.

    row: has query_id, model, prediction.
    """
    if not here.is_at_least("labeler", row["model"]):
        return None
    words, labels, name = here.words, manifests.labels_of(manifest), row["query_id"]
    given: str | float | None = None
    other: str | float | None
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"truth-{name}"):
        if st.button(words["truth.right"], key=f"right-{name}", icon=":material/check:"):
            given = row["prediction"]
        if labels:
            others = [label for label in labels if label != row["prediction"]]
            other = st.selectbox(
                words["truth.wrong"], others, index=None, placeholder=words["truth.which"], key=f"other-{name}", width=220,
                label_visibility="collapsed",
            )  # fmt: skip
        else:
            other = st.number_input(
                words["truth.wrong"], value=None, placeholder=words["truth.number"], key=f"other-{name}", width=220,
                label_visibility="collapsed",
            )  # fmt: skip
        if other is not None and st.button(words["truth.save"], key=f"save-{name}", type="primary"):
            given = other
    return None if given is None else keep(here, name, given)


def keep(here: Session, query_id: str, value: str | float) -> str | None:
    """Give one label to the server; says why not where it is refused."""
    try:
        kept = here.client.label(query_id, value)
    except RelevoError as error:
        layout.say_refused(here.words, error)
        return None
    return str(kept["value"])
