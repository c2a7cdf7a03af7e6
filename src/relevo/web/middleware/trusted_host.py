"""Checks Host and Origin headers, against DNS rebinding and cross-site requests.

    Host ─ accepted before? ─► accept
         └ loopback, the setting `host`, a name in allowed_hosts ─► accept            else 403 host_not_allowed
    unsafe method ─ Origin differs, or Sec-Fetch-Site says so ─► 403 forbidden

An attacker's page can resolve its own name to 127.0.0.1; the browser then treats this server as same-origin with that page. Only the
Host header reveals this. Programs send no Origin, and none is required.
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
_CROSS_SITE = frozenset({b"cross-site", b"same-site"})
_ANY_HOST = "*"
_MAX_CACHED = 1000


class HostChecker:
    """The host names of this server. Lifetime: the worker."""

    def __init__(self, settings: Settings) -> None:
        listed = {name.strip().lower().rstrip(".") for name in settings.allowed_hosts.split(",")} - {""}
        self._accept_any = _ANY_HOST in listed
        self._allowed = frozenset(listed)
        self._is_exposed = not settings.is_local_only
        self._own = {"localhost", settings.host.lower()} | ({socket.gethostname().lower()} if self._is_exposed else set())
        #: Raw Host values that were accepted before: the fast path for most requests.
        self._accepted: set[bytes] = set()

    def is_known_host(self, host: bytes) -> bool:
        """Whether the Host value, with or without a port, names this server."""
        if host in self._accepted:
            return True
        name, _ = _split_host(host.decode("latin-1"))
        if not self._is_own_name(name):
            return False
        if len(self._accepted) < _MAX_CACHED:
            self._accepted.add(host)
        return True

    def check_request(self, scope: Scope) -> None:
        """Raises HostNotAllowedError, OriginError."""
        host = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
                if not self.is_known_host(value):
                    raise HostNotAllowedError
        if scope["method"] not in _SAFE:
            self._check_site(scope, host.decode("latin-1"))

    def _check_site(self, scope: Scope, host: str) -> None:
        for name, value in scope["headers"]:
            if name == b"sec-fetch-site" and value in _CROSS_SITE:
                raise OriginError(reason="it comes from another site")
            if name == b"origin" and not self._is_own(value.decode("latin-1"), host):
                raise OriginError(reason="it comes from another site")

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether an Origin is this server. Names in allowed_hosts match by name only: a proxy may change scheme and port."""
        scheme, _, authority = origin.lower().partition("://")
        name, port = _split_host(authority)
        if not name or scheme not in {"http", "https"}:
            return False
        default_port = ":443" if scheme == "https" else ":80"
        own_name, own_port = _split_host(host)
        return name in self._allowed or (name == own_name and (port or default_port) == (own_port or default_port))

    def _is_own_name(self, name: str) -> bool:
        if not name:
            return False
        if self._accept_any or name in self._own or name in self._allowed:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            # On an exposed server: a name without a dot belongs to the local network, never to the internet.
            return self._is_exposed and "." not in name
        # An IP address cannot be rebound.
        return self._is_exposed or address.is_loopback or name.strip("[]") in self._own


def _split_host(host: str) -> tuple[str, str]:
    """Lower-case name and port with its colon; both empty for an invalid host."""
    match = _HOST.fullmatch(host.lower())
    return (match[1], match[2] or "") if match else ("", "")
