"""Sessions of the console: maps the cookie of a browser to an API client that is logged in to the server.

sign_in ─► new token (256 bits) ─► ConsoleSession(client, name)        find(token) ─► ConsoleSession | None
sign_out, expiry ─► deleted

The session of the server stays here, in memory; a browser only holds the token of the console.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relevo.client import Client
from relevo.errors import RelevoError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from relevo.util.proxy_headers import TrustedProxies

#: Equal to the longest session of the server, in s.
_MAX_AGE_S = 12 * 3600
_MAX_SESSIONS = 10_000
_TIMEOUT_S = 15.0
_PROVIDER_CACHE_S = 60.0
_PROVIDER_RETRY_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleConfig:
    """Configuration of a console. Lifetime: the process."""

    server: str  # "http://127.0.0.1:8000"
    verify: ssl.SSLContext | Path | None = None  # trusted certificates for https, as `Client` takes them
    language: str = "en"  # for browsers that accept none of the available languages
    address: str = "http://127.0.0.1:8501"  # URL of the console for browsers
    public_url: str = ""  # URL of the server for browsers; empty: `server`
    key: Callable[[], bytes] = bytes  # shared with the server; without it the server rejects what the console signs
    proxies: TrustedProxies | None = None  # in front of the console


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSession:
    """One logged-in browser. Lifetime: its session."""

    client: Client
    name: str
    since: float = field(default_factory=time.monotonic)

    def leave(self) -> None:
        """Ends the session of the server too, if the server can be reached."""
        with contextlib.suppress(RelevoError):
            self.client.sign_out()
        self.client.close()


class ConsoleSessions:
    """All logged-in browsers of this console; thread-safe. Lifetime: the process."""

    def __init__(self, config: ConsoleConfig, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self._monotonic = monotonic
        self._sessions: dict[str, ConsoleSession] = {}
        self._lock = threading.Lock()
        self._provider = (float("-inf"), "")

    def client(self, address: str = "") -> Client:
        """A client without login. address: IP address of the browser that it acts for."""
        client = Client(self.config.server, timeout=_TIMEOUT_S, retries=1, verify=self.config.verify)
        if address:
            client.forward_client(address, key=self.config.key())
        return client

    def sign_in(self, name: str, password: str, *, language: str, address: str) -> str:
        """Logs in to the server for a browser at that IP address; returns the token for its cookie.

        Raises InvalidCredentialsError, ConcurrencyLimitError, UnavailableError.
        """
        return self._log_in(lambda client: client.sign_in(name, password), language, address)

    def redeem_code(self, code: str, verifier: str, *, language: str, address: str) -> str:
        """Logs in with a login code of the server; returns the token. Raises IdentityProofError, UnavailableError."""
        key, console = self.config.key(), self.config.address
        return self._log_in(lambda client: client.take_over(code, verifier, console=console, key=key), language, address)

    def provider(self) -> str:
        """Name of the identity provider of the server, cached for a minute; "" without one, or while the server is down."""
        if not self.config.key():
            return ""
        until, name = self._provider
        if self._monotonic() >= until:
            # A failure is cached too, for a shorter time: not every page waits for a server that is down.
            ttl = _PROVIDER_RETRY_S
            with contextlib.suppress(RelevoError), self.client() as client:
                name, ttl = str(client.request_json("GET", "/login/elsewhere")["provider"] or ""), _PROVIDER_CACHE_S
            self._provider = (self._monotonic() + ttl, name)
        return name

    def _log_in(self, sign_in: Callable[[Client], dict[str, Any]], language: str, address: str) -> str:
        client = self.client()
        client.set_language(language)
        client.forward_client(address, key=self.config.key())
        try:
            user = sign_in(client)
        except BaseException:
            client.close()
            raise
        token = secrets.token_urlsafe(32)
        with self._lock:
            expired = self._remove_expired()
            self._sessions[_digest(token)] = ConsoleSession(client=client, name=str(user.get("name", "")), since=self._monotonic())
        for session in expired:
            session.client.close()
        return token

    def find(self, token: str | None) -> ConsoleSession | None:
        """The session of this token; None if it is unknown or expired."""
        if not token:
            return None
        with self._lock:
            session = self._sessions.get(_digest(token))
        return session if session and self._monotonic() - session.since < _MAX_AGE_S else None

    def sign_out(self, token: str | None) -> ConsoleSession | None:
        """Removes the session of this token and returns it; the caller ends the session of the server."""
        if not token:
            return None
        with self._lock:
            return self._sessions.pop(_digest(token), None)

    def _remove_expired(self) -> list[ConsoleSession]:
        """Removes expired sessions, and the oldest ones above the limit; returns them."""
        now = self._monotonic()
        valid = [key for key, session in self._sessions.items() if now - session.since < _MAX_AGE_S][-_MAX_SESSIONS + 1 :]
        return [self._sessions.pop(key) for key in self._sessions.keys() - set(valid)]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


_current: list[ConsoleSessions] = []


def init_sessions(config: ConsoleConfig) -> ConsoleSessions:
    """Creates the sessions of this process. Streamlit runs pages without arguments, so they call `current_sessions`."""
    _current[:] = [ConsoleSessions(config)]
    return _current[0]


def current_sessions() -> ConsoleSessions:
    """The sessions of this process."""
    return _current[0]
