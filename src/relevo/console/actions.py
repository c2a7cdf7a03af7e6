"""A change asked of the server from a form: done and told after the page is drawn anew, or refused in the server's words.

attempt(here, "done", lambda: client.ask("POST", …)) ─► rerun, and tell_done() says so        RelevoError ─► said in its place
ask_first(here, Question(…), act) ─► a dialog that names the thing ─ its own button ─► act()
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

_TOLD = "asking-done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked before something that cannot be undone: each text names the thing."""

    title: str
    text: str
    act: str  # of the button that does it


def ask_first(here: Session, question: Question, act: Callable[[], object]) -> None:
    """Show a dialog; only its own button acts."""
    st.dialog(escape_markdown(question.title))(_ask)(here, question, act)


def _ask(here: Session, question: Question, act: Callable[[], object]) -> None:
    st.html(f"<p>{layout.safe(question.text)}</p>")
    refused = st.empty()
    with st.container(horizontal=True):
        if st.button(here.words["ask.cancel"], key="ask-cancel"):
            st.rerun()
        agreed = st.button(escape_markdown(question.act), key="ask-act", type="primary", icon=":material/warning:")
    if agreed:
        with refused.container():
            try:
                act()
            except AuthenticationError:
                layout.say_over(here.words)


def attempt(here: Session, done: str, ask: Callable[[], Any]) -> None:
    """Ask, then draw the page anew and say what was done. Raises AuthenticationError, as every page does."""
    try:
        ask()
    except AuthenticationError:
        raise
    except RelevoError as error:
        layout.say_refused(here.words, error)
        return
    st.session_state[_TOLD] = done
    st.rerun()


def tell_done() -> None:
    """Say what the run before did, once."""
    told = st.session_state.pop(_TOLD, None)
    if told:
        st.toast(escape_markdown(told), icon=":material/check:")
