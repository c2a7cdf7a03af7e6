"""Which model a page is about: the one in the address, else the first; kept in the address, so that a link leads back.

GET /models ─ none ─► what to do        one ─► that        several ─► a choice
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from relevo.console import layout
from relevo.console.markdown import escape_markdown

if TYPE_CHECKING:
    from relevo.console.session import Session

_FEW = 5


def model_chosen(here: Session) -> str | None:
    """The name of the model; None when there is none, and that has been said."""
    words = here.words
    names = [model["name"] for model in here.client.models()]
    if not names:
        layout.say(words["classify.none"], words["classify.none.next"])
        return None
    asked = st.query_params.get("model")
    first = asked if asked in names else names[0]
    if len(names) == 1:
        return first
    if len(names) <= _FEW:
        chosen: str = st.segmented_control(
            words["models.model"], names, default=first, required=True, format_func=escape_markdown, key="model-chosen"
        )
    else:
        chosen = st.selectbox(words["models.model"], names, index=names.index(first), key="model-chosen")
    if chosen != asked:
        st.query_params["model"] = chosen
    return chosen
