"""The Streamlit script: builds the navigation and shows the selected page. Streamlit runs it for each page view and each click.

current_session() ─┬ AuthenticationError ─► "your session is over", link to the login page
                   ├ UnavailableError ────► "the server is not answering", what to do
                   └ Session ─────────────► sidebar (pages, user, language) ─► show(session) of the selected page
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from relevo.console import layout, pages
from relevo.console.session import browser_language, current_session
from relevo.console.texts import load_texts
from relevo.errors import AuthenticationError, RelevoError, UnavailableError

if TYPE_CHECKING:
    from relevo.console.session import Session


def main() -> None:
    """Runs once for each page view and each click."""
    texts = load_texts(browser_language())
    layout.begin_page(texts)
    try:
        session = current_session()
    except AuthenticationError:
        layout.show_session_expired(texts)
    except UnavailableError:
        layout.show_server_unavailable(texts)
    else:
        _show(session)


def _show(session: Session) -> None:
    selected = st.navigation(
        {
            session.texts[section]: [
                st.Page(
                    partial(_show_page, page, session),
                    title=session.texts[f"page.{page.name}"],
                    icon=page.icon,
                    url_path=page.name,
                    default=page is pages.FIRST,
                    # Hidden rather than left out: for an unknown address Streamlit shows an English "page not found".
                    visibility="visible" if session.is_at_least(page.role) else "hidden",
                )
                for page in entries
            ]
            for section, entries in pages.SECTIONS.items()
        },
    )
    layout.sidebar(session)
    layout.show_insecure_warning(session)
    selected.run()


def _show_page(page: pages.Page, session: Session) -> None:
    texts = session.texts
    if not session.is_at_least(page.role):
        layout.heading(texts[f"page.{page.name}"])
        layout.show_empty_state(texts["frame.not_yours"], texts("frame.not_yours.next", role=texts[f"role.{page.role}"]))
        return
    try:
        page.show(session)
    except AuthenticationError:
        layout.show_session_expired(texts)
    except UnavailableError:
        layout.show_server_unavailable(texts)
    except RelevoError as error:
        layout.show_error(texts, error)


main()
