"""The frame around every page: run by Streamlit once a visit and once a click.

session.here() ─┬ AuthenticationError ────► "your session is over", the way to sign in
                ├ Unavailable ─► "the server is not answering", what to do
                └ Session ─────► sidebar (pages, who, language) ─► the chosen page's show(session)
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from relevo.console import layout, pages, session
from relevo.console.texts import words_of
from relevo.errors import AuthenticationError, RelevoError, UnavailableError

if TYPE_CHECKING:
    from relevo.console.session import Session


def main() -> None:
    """One run."""
    words = words_of(session.language_here())
    layout.begin(words)
    try:
        here = session.here()
    except AuthenticationError:
        layout.say_over(words)
    except UnavailableError:
        layout.say_away(words)
    else:
        _show(here)


def _show(here: Session) -> None:
    chosen = st.navigation(
        {
            here.words[section]: [
                st.Page(
                    partial(_page, page, here),
                    title=here.words[f"page.{page.name}"],
                    icon=page.icon,
                    url_path=page.name,
                    default=page is pages.FIRST,
                    # Not left out: Streamlit would say of its address, in English, that there is no such page.
                    visibility="visible" if here.is_at_least(page.role) else "hidden",
                )
                for page in listed
            ]
            for section, listed in pages.SECTIONS.items()
        },
    )
    layout.sidebar(here)
    layout.warn(here)
    chosen.run()


def _page(page: pages.Page, here: Session) -> None:
    if not here.is_at_least(page.role):
        layout.heading(here.words[f"page.{page.name}"])
        layout.say(here.words["frame.not_yours"], here.words("frame.not_yours.next", role=here.words[f"role.{page.role}"]))
        return
    try:
        page.show(here)
    except AuthenticationError:
        layout.say_over(here.words)
    except UnavailableError:
        layout.say_away(here.words)
    except RelevoError as error:
        layout.say_refused(here.words, error)


main()
