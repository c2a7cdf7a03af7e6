"""Who is signed in to this console: a browser's cookie leads to a client that the server knows.

sign_in ─► new token (256 bits) ─► Visitor(client, who)        of(token) ─► Visitor | None        sign_out, expiry ─► gone

The server's session stays here, in memory; a browser only ever holds the token of ours.
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

#: As long as the server's own longest session, in s.
_LONGEST_S = 12 * 3600
_MOST = 10_000
_PATIENCE_S = 15.0
_PROVIDER_KNOWN_S = 60.0
_PROVIDER_AWAY_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleConfig:
    """What a console is told when it starts; lives as long as the process."""

    server: str  # "http://127.0.0.1:8000"
    verify: ssl.SSLContext | Path | None = None  # what to trust over https, as `Client` takes it
    language: str = "en"  # where the browser asks for none of ours
    address: str = "http://127.0.0.1:8501"  # at which browsers reach the console
    public_url: str = ""  # at which browsers reach the server; empty: as the console does
    key: Callable[[], bytes] = bytes  # shared with the server; none, and it believes the console nothing
    proxies: TrustedProxies | None = None  # in front of the console


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSession:
    """Somebody signed in; lives as long as their session."""

    client: Client
    name: str
    since: float = field(default_factory=time.monotonic)

    def leave(self) -> None:
        """End the server's session too, where it can be reached."""
        with contextlib.suppress(RelevoError):
            self.client.sign_out()
        self.client.close()


class ConsoleSessions:
    """Everybody signed in to this console; lives as long as the process. Shared by threads."""

    def __init__(self, told: ConsoleConfig, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.told = told
        self._monotonic = monotonic
        self._known: dict[str, ConsoleSession] = {}
        self._lock = threading.Lock()
        self._provider = (float("-inf"), "")

    def client(self, address: str = "") -> Client:
        """A client nobody has signed in with. address: of the machine that it asks for."""
        client = Client(self.told.server, timeout=_PATIENCE_S, retries=1, verify=self.told.verify)
        if address:
            client.on_behalf_of(address, key=self.told.key())
        return client

    def sign_in(self, name: str, password: str, *, language: str, address: str) -> str:
        """Ask the server, on behalf of that address; gives the token for the browser's cookie.

        Raises InvalidCredentialsError, ConcurrencyLimitError, UnavailableError.
        """
        return self._enter(lambda client: client.sign_in(name, password), language, address)

    def hand_over(self, code: str, verifier: str, *, language: str, address: str) -> str:
        """The same for whoever the server sent here with a code. Raises IdentityProofError, UnavailableError."""
        key, console = self.told.key(), self.told.address
        return self._enter(lambda client: client.take_over(code, verifier, console=console, key=key), language, address)

    def provider(self) -> str:
        """Where else people may sign in, as asked in the last minute; "" for nowhere, or while the server does not say."""
        if not self.told.key():
            return ""
        until, name = self._provider
        if self._monotonic() >= until:
            # A server that is away is not asked for every page either.
            lasts = _PROVIDER_AWAY_S
            with contextlib.suppress(RelevoError), self.client() as client:
                name, lasts = str(client.ask("GET", "/login/elsewhere")["provider"] or ""), _PROVIDER_KNOWN_S
            self._provider = (self._monotonic() + lasts, name)
        return name

    def _enter(self, sign_in: Callable[[Client], dict[str, Any]], language: str, address: str) -> str:
        client = self.client()
        client.speak(language)
        client.on_behalf_of(address, key=self.told.key())
        try:
            user = sign_in(client)
        except BaseException:
            client.close()
            raise
        token = secrets.token_urlsafe(32)
        with self._lock:
            old = self._take_old()
            self._known[_hashed(token)] = ConsoleSession(client=client, name=str(user.get("name", "")), since=self._monotonic())
        for one in old:
            one.client.close()
        return token

    def of(self, token: str | None) -> ConsoleSession | None:
        """Whoever that cookie names, unless it is unknown or over."""
        if not token:
            return None
        with self._lock:
            found = self._known.get(_hashed(token))
        return found if found and self._monotonic() - found.since < _LONGEST_S else None

    def sign_out(self, token: str | None) -> ConsoleSession | None:
        """Forget this browser's session here; the caller tells the server."""
        if not token:
            return None
        with self._lock:
            return self._known.pop(_hashed(token), None)

    def _take_old(self) -> list[ConsoleSession]:
        """Those whose session is over, and the oldest beyond what anybody could have opened; they are known no more."""
        now = self._monotonic()
        young = [key for key, one in self._known.items() if now - one.since < _LONGEST_S][-_MOST + 1 :]
        return [self._known.pop(key) for key in self._known.keys() - set(young)]


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


_open: list[ConsoleSessions] = []


def open_for(told: ConsoleConfig) -> ConsoleSessions:
    """The visitors of this process from now on: Streamlit runs the pages without arguments, so they ask here."""
    _open[:] = [ConsoleSessions(told)]
    return _open[0]


def here() -> ConsoleSessions:
    """The visitors of this process."""
    return _open[0]
