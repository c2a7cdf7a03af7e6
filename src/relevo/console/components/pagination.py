"""Pagination of lists by cursor: stores the cursors of the previous pages; a change of the filters starts at the first page.

Pager(key, filters) ─ params ─► query parameters of this page ─► server ─ next_cursor ─► buttons
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from relevo.console.components import html

if TYPE_CHECKING:
    from relevo.console.texts import Texts


class Pager:
    """The pages of one list. Lifetime: one page run; its cursors: the browser session."""

    def __init__(self, key: str, filters: dict[str, str], *, page_size: int) -> None:
        """key: name of the list. filters: query parameters of the list."""
        self._key = key
        self._filters = filters
        self._page_size = page_size
        filters_key, cursors_key = f"{key}-filters", f"{key}-cursors"
        if st.session_state.get(filters_key) != filters:
            st.session_state[filters_key], st.session_state[cursors_key] = filters, []
        self._cursors: list[str] = st.session_state[cursors_key]

    @property
    def params(self) -> dict[str, str]:
        """The query parameters of this page."""
        cursor = {"cursor": self._cursors[-1]} if self._cursors else {}
        return {**self._filters, "limit": str(self._page_size), **cursor}

    def buttons(
        self, next_cursor: str | None, texts: Texts, *, previous_key: str = "trail.newer", next_key: str = "trail.older"
    ) -> None:
        """Buttons for the previous and the next page; none for a single page. previous_key, next_key: of their texts."""
        if not self._cursors and next_cursor is None:
            return
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button(texts[previous_key], icon=":material/chevron_left:", disabled=not self._cursors, key=f"{self._key}-back"):
                self._cursors.pop()
                st.rerun()
            if st.button(texts[next_key], icon=":material/chevron_right:", disabled=next_cursor is None, key=f"{self._key}-on"):
                self._cursors.append(str(next_cursor))
                st.rerun()
            html.line(html.muted(texts("trail.page", page=texts.integer(len(self._cursors) + 1))))
