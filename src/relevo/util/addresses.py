"""Groups client addresses for rate limiting: an IPv4 address counts as one client, an IPv6 address with its /64 network."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_IPV6_PREFIX = 64  # prefix length of the IPv6 network of one subscriber


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """An IPv4 address itself, the /64 network of an IPv6 address; any other text unchanged."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
