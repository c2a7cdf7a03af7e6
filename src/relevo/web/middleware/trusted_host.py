"""From where a request may come while nobody has to say who they are: the names this server goes by, and no other site.

    Host ─ met before? ─► go on
         └ loopback, the setting host, a name in allowed_hosts ─► go on            else 403 host_not_allowed
    a method that changes something ─ Origin is another one, or a browser says so ─► 403 forbidden

A page elsewhere may let its own name lead to 127.0.0.1; the browser then takes this server for that page's own. Only the name it
writes in Host tells. Programs send no Origin and are asked for none.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING

from relevo.errors import HostNotAllowedError, OriginError

if TYPE_CHECKING:
    from starlette.types import Scope

    from relevo.config import Settings

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253}?)\.?(:\d{1,5})?")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_ELSEWHERE = frozenset({b"cross-site", b"same-site"})
_EVERYBODY = "*"
_MOST_REMEMBERED = 1000


class HostChecker:
    """Knows the names of this server; lives as long as the worker."""

    def __init__(self, settings: Settings) -> None:
        listed = {name.strip().lower().rstrip(".") for name in settings.allowed_hosts.split(",")} - {""}
        self._every = _EVERYBODY in listed
        self._named = frozenset(listed)
        self._open = not settings.stays_here
        self._own = {"localhost", settings.host.lower()} | ({socket.gethostname().lower()} if self._open else set())
        #: Values of Host that were let through, as they came: the usual request is looked up here and that is all.
        self._met: set[bytes] = set()

    def know(self, host: bytes) -> bool:
        """Whether this server goes by that name, with or without a port."""
        if host in self._met:
            return True
        name, _ = _parts(host.decode("latin-1"))
        if not self._goes_by(name):
            return False
        if len(self._met) < _MOST_REMEMBERED:
            self._met.add(host)
        return True

    def check(self, scope: Scope) -> None:
        """Raises HostNotAllowedError and OriginError."""
        host = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
                if not self.know(value):
                    raise HostNotAllowedError
        if scope["method"] not in _SAFE:
            self._check_site(scope, host.decode("latin-1"))

    def _check_site(self, scope: Scope, host: str) -> None:
        for name, value in scope["headers"]:
            if name == b"sec-fetch-site" and value in _ELSEWHERE:
                raise OriginError(reason="it comes from another site")
            if name == b"origin" and not self._is_own(value.decode("latin-1"), host):
                raise OriginError(reason="it comes from another site")

    def _is_own(self, origin: str, host: str) -> bool:
        """A proxy may speak https where we hear http, and leave a port out: for the names it was given, the name counts."""
        scheme, _, place = origin.lower().partition("://")
        name, port = _parts(place)
        if not name or scheme not in {"http", "https"}:
            return False
        usual = ":443" if scheme == "https" else ":80"
        own_name, own_port = _parts(host)
        return name in self._named or (name == own_name and (port or usual) == (own_port or usual))

    def _goes_by(self, name: str) -> bool:
        if not name:
            return False
        if self._every or name in self._own or name in self._named:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            # Where others may reach the server anyway: a name without a dot is one of their own network, never of the internet.
            return self._open and "." not in name
        # An address is no name, and leads nowhere else.
        return self._open or address.is_loopback or name.strip("[]") in self._own


def _parts(host: str) -> tuple[str, str]:
    """Name in lower case and port with its colon; both empty for what is no host."""
    match = _HOST.fullmatch(host.lower())
    return (match[1], match[2] or "") if match else ("", "")
