"""A change asked of the server from a form: done and told after the page is drawn anew, or refused in the server's words.

attempt(here, "done", lambda: client.ask("POST", …)) ─► rerun, and tell_done() says so        RelevoError ─► said in its place
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import frame
from relevo.console.verbatim import verbatim
from relevo.errors import NotKnown, RelevoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.console.session import Session

_TOLD = "asking-done"


def attempt(here: Session, done: str, ask: Callable[[], Any]) -> None:
    """Ask, then draw the page anew and say what was done. Raises NotKnown, as every page does."""
    try:
        ask()
    except NotKnown:
        raise
    except RelevoError as error:
        frame.say_refused(here.words, error)
        return
    st.session_state[_TOLD] = done
    st.rerun()


def tell_done() -> None:
    """Say what the run before did, once."""
    told = st.session_state.pop(_TOLD, None)
    if told:
        st.toast(verbatim(told), icon=":material/check:")
