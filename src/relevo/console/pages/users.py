"""Who may come in, with what keys, and who changed what: for those who answer for it.

admin ─► users · keys · audit          operator ─► audit
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from relevo.console import layout
from relevo.console.components import api_keys, audit_table, html, users

if TYPE_CHECKING:
    from relevo.console.session import Session


def show(here: Session) -> None:
    """The page."""
    words = here.words
    html.begin()
    layout.heading(words["page.people"], words["people.lead"])
    if here.me.get("role") != "admin":
        audit_table.show(here, {})
        return
    page = users.page(here)
    if page is None:
        users.first(here)
        return
    names = {user["id"]: user["name"] for user in page.users}
    models = [model["name"] for model in here.client.models()]
    tabs = st.tabs([here.words[f"people.tab.{name}"] for name in ("users", "keys", "audit")], key="people-tab")
    with tabs[0]:
        users.show(here, page, models)
    with tabs[1]:
        api_keys.show(here, names, models)
    with tabs[2]:
        audit_table.show(here, names)
        audit_table.refused(here)
