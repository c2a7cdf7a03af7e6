"""Sends a change from a form to the server and shows the result.

submit(session, "done", lambda: client.ask("POST", …)) ─► rerun ─► show_result() shows "done"      RelevoError ─► shown in place
confirm(session, Confirmation(…), action) ─► dialog that names the object ─ its own button ─► action()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout
from relevo.console.markdown import escape_markdown
from relevo.errors import AuthenticationError, RelevoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.console.session import Session

_RESULT = "action-result"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Texts of a dialog before an action that cannot be undone; each of them names the object."""

    title: str
    text: str
    act: str  # label of the button that runs the action


def confirm(session: Session, confirmation: Confirmation, action: Callable[[], object]) -> None:
    """Shows a dialog; only its own button runs the action."""
    st.dialog(escape_markdown(confirmation.title))(_show_dialog)(session, confirmation, action)


def _show_dialog(session: Session, confirmation: Confirmation, action: Callable[[], object]) -> None:
    st.html(f"<p>{layout.escape(confirmation.text)}</p>")
    errors = st.empty()
    with st.container(horizontal=True):
        if st.button(session.texts["ask.cancel"], key="ask-cancel"):
            st.rerun()
        confirmed = st.button(escape_markdown(confirmation.act), key="ask-act", type="primary", icon=":material/warning:")
    if confirmed:
        with errors.container():
            try:
                action()
            except AuthenticationError:
                layout.show_session_expired(session.texts)


def submit(session: Session, done: str, request: Callable[[], Any]) -> None:
    """Sends the request, reruns the page and shows `done`. Shows an error in place. Raises AuthenticationError."""
    try:
        request()
    except AuthenticationError:
        raise
    except RelevoError as error:
        layout.show_error(session.texts, error)
        return
    st.session_state[_RESULT] = done
    st.rerun()


def show_result() -> None:
    """Shows the result of the action before the rerun, once."""
    message = st.session_state.pop(_RESULT, None)
    if message:
        st.toast(escape_markdown(message), icon=":material/check:")
