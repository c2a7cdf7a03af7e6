"""The users page: users, API keys and the audit log, for administrators; operators see the audit log only.

admin ─► users · keys · audit          operator ─► audit
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from relevo.console import layout
from relevo.console.components import api_keys, audit_table, html, users

if TYPE_CHECKING:
    from relevo.console.session import Session


def show(session: Session) -> None:
    """Draws the page."""
    texts = session.texts
    html.load_style()
    layout.heading(texts["page.people"], texts["people.lead"])
    if session.me.get("role") != "admin":
        audit_table.show(session, {})
        return
    page = users.load_page(session)
    if page is None:
        users.show_first_user(session)
        return
    names = {user["id"]: user["name"] for user in page.users}
    models = [model["name"] for model in session.client.models()]
    tabs = st.tabs([session.texts[f"people.tab.{name}"] for name in ("users", "keys", "audit")], key="people-tab")
    with tabs[0]:
        users.show(session, page, models)
    with tabs[1]:
        api_keys.show(session, names, models)
    with tabs[2]:
        audit_table.show(session, names)
        audit_table.show_failed_logins(session)
