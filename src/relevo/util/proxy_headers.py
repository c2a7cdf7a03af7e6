"""Who calls when a proxy stands in front, of the server or of the console: a listed proxy's word is taken, and nobody else's.

    peer is a listed proxy ─ X-Forwarded-For from the right: the first address that is no listed proxy ─► the caller
                           └ X-Forwarded-Proto ──────────────────────────────────────────────────────► how the caller came
    peer is anybody else ─── the peer is the caller; what it says of others is not read

Where the process itself does not encrypt, the proxies are the only way in: anybody else is refused, but for this machine.
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

#: A longer chain of proxies is nobody's; what stands further left is not read.
_MOST_HOPS = 20


class TrustedProxies:
    """The proxies in front of this process; lives as long as it."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        self._caller = lru_cache(maxsize=4096)(self._found)
        self._listed = lru_cache(maxsize=4096)(self._stands_in_list)

    def lists(self, peer: str) -> bool:
        """Whether this address is a proxy's."""
        return self._listed(peer)

    def lets_in(self, peer: str) -> bool:
        """Whether whoever has this address may ask in the clear."""
        address = _address(peer)
        return address is None or address.is_loopback or self._listed(peer)

    def seen(self, headers: Iterable[tuple[bytes, bytes]], peer: str, scheme: str) -> tuple[str, str]:
        """Address and scheme of the caller, as a listed proxy tells them; its own where it tells none."""
        told = []
        for name, value in headers:
            if name == b"x-forwarded-for":
                told.append(value)
            elif name == b"x-forwarded-proto" and value in {b"http", b"https"}:
                scheme = value.decode()
        return (self._caller(b",".join(told), peer) if told else peer), scheme

    def _found(self, told: bytes, peer: str) -> str:
        caller = peer
        for hop in reversed(told.decode("latin-1").split(",")[-_MOST_HOPS:]):
            address = _address(hop.strip())
            if address is None:
                break
            caller = str(address)
            if not self._listed(caller):
                break
        return caller

    def _stands_in_list(self, peer: str) -> bool:
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)


def parse_trusted_proxies(trusted_proxies: str) -> TrustedProxies | None:
    """The proxies that this setting names; None when it names none. Raises ConfigError for what is no address."""
    names = [name.strip() for name in trusted_proxies.split(",") if name.strip()]
    return TrustedProxies([_network(name) for name in names]) if names else None


def _network(name: str) -> Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError as cause:
        raise ConfigError(
            reason=f"trusted_proxies has {name!r}, which is no address like 10.0.0.5 and no network like 10.0.0.0/24"
        ) from cause


def _address(text: str) -> Address | None:
    """An address in the usual writings: with a port, in brackets, an IPv4 one inside IPv6; None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
