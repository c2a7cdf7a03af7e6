"""What one run of a page has in hand: a client that somebody signed in with, who that is, and their language.

here() ─► Session(client, me, words) ─► session.client.ask("GET", "/models")        session.words["history.none"]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console.auth import sessions
from relevo.console.auth.proxy import COOKIE
from relevo.console.texts import LANGUAGE_COOKIE, Texts, liked, words_of
from relevo.errors import NotFoundError

if TYPE_CHECKING:
    from relevo.client import Client

_RANK = {"viewer": 0, "labeler": 1, "operator": 2, "admin": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of a page; lives as long as the run."""

    client: Client
    #: What the server's GET /me said: id, name, role, grants, way, …
    me: dict[str, Any]
    words: Texts

    @property
    def language(self) -> str:
        """Code of the language: "en" or "es"."""
        return self.words.language

    @property
    def signed_in(self) -> bool:
        """Whether somebody's name stands behind it; a server without users asks nobody."""
        return self.me.get("way") == "session"

    def is_at_least(self, role: str, model: str | None = None) -> bool:
        """Whether to show what needs that role ("viewer" < "labeler" < "operator" < "admin"); the server decides all the same.

        model: for it alone; None asks for the highest role anywhere.
        """
        grants = self.me.get("grants") or {}
        held = [self.me.get("role"), *([grants.get(model)] if model else grants.values())]
        return max((_RANK[one] for one in held if one in _RANK), default=-1) >= _RANK[role]


def here() -> Session:
    """The session of the browser that is being answered now. Raises AuthenticationError when it must sign in, UnavailableError."""
    language = language_here()
    visitor = sessions.here().of(st.context.cookies.get(COOKIE))
    client = visitor.client if visitor else _unsigned()
    client.speak(language)
    return Session(client=client, me=_me(client), words=words_of(language))


def language_here() -> str:
    """Code of the language of this browser: the one chosen, else the one it likes best of ours, else the console's."""
    return liked(st.context.cookies.get(LANGUAGE_COOKIE), st.context.headers.get("accept-language"), sessions.here().told.language)


def _unsigned() -> Client:
    """One client a browser tab, for servers that ask nobody who they are."""
    client: Client | None = st.session_state.get("client")
    if client is None:
        client = st.session_state["client"] = sessions.here().client(st.context.ip_address or "")
    return client


def _me(client: Client) -> dict[str, Any]:
    try:
        return dict(client.ask("GET", "/me"))
    except NotFoundError:
        # A server from before there were users.
        return {"id": "", "name": "", "role": "admin", "grants": {}, "way": "open"}
