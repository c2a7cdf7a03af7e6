"""Model selector of a page: the model named in the address, else the first one; the selection is kept in the address.

GET /models ─ none ─► what to do        one ─► that one        several ─► a select widget
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from relevo.console import layout
from relevo.console.markdown import escape_markdown

if TYPE_CHECKING:
    from relevo.console.session import Session

#: Up to this number of models the widget shows all of them as buttons.
_MAX_BUTTONS = 5


def pick_model(session: Session) -> str | None:
    """The name of the selected model; None after the message that there is no model."""
    texts = session.texts
    names = [model["name"] for model in session.client.models()]
    if not names:
        layout.show_empty_state(texts["classify.none"], texts["classify.none.next"])
        return None
    requested = st.query_params.get("model")
    default = requested if requested in names else names[0]
    if len(names) == 1:
        return default
    if len(names) <= _MAX_BUTTONS:
        selected: str = st.segmented_control(
            texts["models.model"], names, default=default, required=True, format_func=escape_markdown, key="model-chosen"
        )
    else:
        selected = st.selectbox(texts["models.model"], names, index=names.index(default), key="model-chosen")
    if selected != requested:
        st.query_params["model"] = selected
    return selected
