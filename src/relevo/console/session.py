"""The state of one page run: the API client, the logged-in user, and the texts in the language of the browser.

current_session() ─► Session(client, me, texts) ─► session.client.ask("GET", "/models")        session.texts["history.none"]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console.auth import sessions
from relevo.console.auth.proxy import SESSION_COOKIE
from relevo.console.texts import LANGUAGE_COOKIE, Texts, choose_language, load_texts
from relevo.errors import NotFoundError

if TYPE_CHECKING:
    from relevo.client import Client

_RANK = {"viewer": 0, "labeler": 1, "operator": 2, "admin": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Lifetime: one run of a page."""

    client: Client
    #: The response of GET /me: id, name, role, grants, way, …
    me: dict[str, Any]
    texts: Texts

    @property
    def language(self) -> str:
        """Language code: "en" or "es"."""
        return self.texts.language

    @property
    def signed_in(self) -> bool:
        """Whether a user is logged in; a server without users needs no login."""
        return self.me.get("auth_method") == "session"

    def is_at_least(self, role: str, model: str | None = None) -> bool:
        """Whether to show what needs this role ("viewer" < "labeler" < "operator" < "admin"). The server checks it again.

        model: check for this model; None takes the highest role on any model.
        """
        grants = self.me.get("grants") or {}
        roles = [self.me.get("role"), *([grants.get(model)] if model else grants.values())]
        return max((_RANK[name] for name in roles if name in _RANK), default=-1) >= _RANK[role]


def current_session() -> Session:
    """The session of the browser that this run serves. Raises AuthenticationError when login is needed, UnavailableError."""
    language = browser_language()
    login = sessions.current_sessions().find(st.context.cookies.get(SESSION_COOKIE))
    client = login.client if login else _anonymous_client()
    client.set_language(language)
    return Session(client=client, me=_me(client), texts=load_texts(language))


def browser_language() -> str:
    """Language code for this browser: its cookie, else its Accept-Language header, else the default of the console."""
    return choose_language(
        st.context.cookies.get(LANGUAGE_COOKIE),
        st.context.headers.get("accept-language"),
        sessions.current_sessions().config.language,
    )


def _anonymous_client() -> Client:
    """One client for each browser tab, for servers without users."""
    client: Client | None = st.session_state.get("client")
    if client is None:
        client = st.session_state["client"] = sessions.current_sessions().client(st.context.ip_address or "")
    return client


def _me(client: Client) -> dict[str, Any]:
    try:
        return dict(client.request_json("GET", "/me"))
    except NotFoundError:
        # Servers older than user accounts have no /me.
        return {"id": "", "name": "", "role": "admin", "grants": {}, "auth_method": "open"}
