"""Determines the client address behind reverse proxies, for the server and the console: only listed proxies are trusted.

    peer is a listed proxy ─ X-Forwarded-For from the right: the first address that is not a listed proxy ─► client address
                           └ X-Forwarded-Proto ─────────────────────────────────────────────────────────► scheme
    peer is not listed ───── the peer is the client; its forwarding headers are ignored

Where the process itself does not use TLS, only the proxies may connect: other peers are rejected, except loopback.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from relevo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Longest chain of proxies; entries further left are not read.
_MAX_HOPS = 20


class TrustedProxies:
    """The proxies in front of this process. Lifetime: the process."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        self._client_cached = lru_cache(maxsize=4096)(self._client_address)
        self._is_listed_cached = lru_cache(maxsize=4096)(self._is_listed)

    def is_trusted(self, peer: str) -> bool:
        """Whether this address is a listed proxy."""
        return self._is_listed_cached(peer)

    def allows_plain_http(self, peer: str) -> bool:
        """Whether this address may send plain HTTP."""
        address = _parse_address(peer)
        return address is None or address.is_loopback or self._is_listed_cached(peer)

    def client_of(self, headers: Iterable[tuple[bytes, bytes]], peer: str, scheme: str) -> tuple[str, str]:
        """Client address and scheme as a listed proxy forwards them; the peer's own if the headers are absent."""
        forwarded = []
        for name, value in headers:
            if name == b"x-forwarded-for":
                forwarded.append(value)
            elif name == b"x-forwarded-proto" and value in {b"http", b"https"}:
                scheme = value.decode()
        return (self._client_cached(b",".join(forwarded), peer) if forwarded else peer), scheme

    def _client_address(self, forwarded: bytes, peer: str) -> str:
        client = peer
        for hop in reversed(forwarded.decode("latin-1").split(",")[-_MAX_HOPS:]):
            address = _parse_address(hop.strip())
            if address is None:
                break
            client = str(address)
            if not self._is_listed_cached(client):
                break
        return client

    def _is_listed(self, peer: str) -> bool:
        address = _parse_address(peer)
        return address is not None and any(address in network for network in self._networks)


def parse_trusted_proxies(trusted_proxies: str) -> TrustedProxies | None:
    """The proxies of this setting; None if it is empty. Raises ConfigError for an invalid address or network."""
    names = [name.strip() for name in trusted_proxies.split(",") if name.strip()]
    return TrustedProxies([_parse_network(name) for name in names]) if names else None


def _parse_network(name: str) -> Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError as cause:
        raise ConfigError(
            reason=f"trusted_proxies has {name!r}, which is no address like 10.0.0.5 and no network like 10.0.0.0/24"
        ) from cause


def _parse_address(text: str) -> Address | None:
    """Parses an address: with a port, in brackets, an IPv4 address inside IPv6; None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
