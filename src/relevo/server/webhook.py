"""Telling another server something, without being led to where nobody outside could look: SSRF.

    url ─ https, or a listed host ─ resolved once ─ every address public, or listed ─► POST to that very address, as that host
                                                                                      └ no redirect, no proxy, bounded time

What a name means is looked up once and then kept, so it cannot mean another machine a moment later.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from relevo.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TIMEOUT_S = 10.0
#: NAT64: the last 32 bits are an IPv4 address (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[Address]:
    """Every address of a host. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]


class Webhook:
    """One address that is told something now and then; lives as long as the process."""

    def __init__(
        self,
        url: str,
        allowed: str = "",
        *,
        resolver: Callable[[str, int], list[Address]] = resolve,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """allowed: hosts and networks, with commas between, that may be private or speak plain http. Raises ConfigError."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        listed = [one.strip().lower() for one in allowed.split(",") if one.strip()]
        self._host = (parts.hostname or "").rstrip(".")
        self._networks = [network for one in listed if (network := _network(one)) is not None]
        self._is_listed = self._host in listed
        if parts.scheme not in {"http", "https"} or not self._host or port == 0 or parts.username is not None:
            raise ConfigError(reason="audit_checkpoint_to is neither a file nor an address like https://host/path")
        self._secure = parts.scheme == "https"
        self._port = port or (443 if self._secure else 80)
        self._name = parts.netloc
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._resolve = resolver
        self._timeout_s = timeout_s

    def post(self, body: bytes) -> None:
        """Send JSON and wait until it was taken. Raises UnavailableError, which says why not in words without the address."""
        try:
            addresses = self._resolve(self._host, self._port)
        except (OSError, UnicodeError) as cause:
            raise UnavailableError.told("its name leads nowhere") from cause
        if not addresses or not all(self._may(address) for address in addresses):
            raise UnavailableError.told("it is a private address, or not of the internet, and is not listed in audit_head_allowed")
        if not self._secure and not all(self._is_named(address) for address in addresses):
            raise UnavailableError.told("it does not encrypt, and is not listed in audit_head_allowed")
        try:
            status = asyncio.run(self._sent(addresses[0], body))
        except TimeoutError as cause:
            raise UnavailableError.told("it did not answer in time") from cause
        except httpx.HTTPError as cause:
            raise UnavailableError.told("it cannot be reached, or its certificate is not trusted") from cause
        if not 200 <= status < 300:
            raise UnavailableError.told(f"it answered with status {status}")

    async def _sent(self, address: Address, body: bytes) -> int:
        place = f"[{address}]" if address.version == 6 else str(address)
        url = f"{'https' if self._secure else 'http'}://{place}:{self._port}{self._path}"
        headers = {"host": self._name, "content-type": "application/json"}
        # httpx bounds each read, not all of them together.
        async with asyncio.timeout(self._timeout_s), httpx.AsyncClient(trust_env=False, timeout=self._timeout_s) as client:
            extensions = {"sni_hostname": self._host}
            async with client.stream("POST", url, content=body, headers=headers, extensions=extensions) as answer:
                # Whatever it has to say beyond that is not read.
                return answer.status_code

    def _may(self, address: Address) -> bool:
        plain = _inner(address)
        return self._is_named(address) or (plain.is_global and not plain.is_multicast)

    def _is_named(self, address: Address) -> bool:
        return self._is_listed or _within(address, self._networks) or _within(_inner(address), self._networks)


def _within(address: Address, networks: Collection[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, by any of the ways there are; else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
