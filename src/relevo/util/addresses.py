"""What counts as one caller where callers are counted: an IPv4 address, or all that a household or a machine has of IPv6."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_OF_ONE = 64  # bits of an IPv6 network that one subscriber has


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """The address itself, an IPv6 one by its network of 64 bits; what is no address stays as it is."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if known.version == 4:
        return address
    return str(known.ipv4_mapped or ipaddress.ip_network((known, _OF_ONE), strict=False))
