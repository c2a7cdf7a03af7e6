"""Turning pages: where each page before this one began is kept, so that one can go back; other filters begin anew.

Turns(key, wanted) ─ asked ─► parameters of this page ─► the server ─ next_cursor ─► buttons
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from relevo.console.components import html

if TYPE_CHECKING:
    from relevo.console.texts import Texts


class Turns:
    """The pages of one list; lives as long as one drawing, what it remembers as long as the session."""

    def __init__(self, key: str, wanted: dict[str, str], *, a_page: int) -> None:
        """key: names the list. wanted: what narrows it."""
        self._key = key
        self._wanted = wanted
        self._a_page = a_page
        filters, cursors = f"{key}-filters", f"{key}-cursors"
        if st.session_state.get(filters) != wanted:
            st.session_state[filters], st.session_state[cursors] = wanted, []
        self._cursors: list[str] = st.session_state[cursors]

    @property
    def asked(self) -> dict[str, str]:
        """The parameters of this page."""
        here = {"cursor": self._cursors[-1]} if self._cursors else {}
        return {**self._wanted, "limit": str(self._a_page), **here}

    def buttons(self, following: str | None, words: Texts, *, back: str = "trail.newer", on: str = "trail.older") -> None:
        """To the page before and the next one; nothing where all is on one page. back, on: keys of their words."""
        if not self._cursors and following is None:
            return
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button(words[back], icon=":material/chevron_left:", disabled=not self._cursors, key=f"{self._key}-back"):
                self._cursors.pop()
                st.rerun()
            if st.button(words[on], icon=":material/chevron_right:", disabled=following is None, key=f"{self._key}-on"):
                self._cursors.append(str(following))
                st.rerun()
            html.line(html.soft(words("trail.page", page=words.whole(len(self._cursors) + 1))))
