"""Which examples are held out: decided by each example's own bytes, so it never changes sides between trainings.

identity bytes ─ blake2b ─► point in [0, 1) ─ below the share? ─► held out
"""

from __future__ import annotations

from hashlib import blake2b


def held_out(identity: bytes, share: float) -> bool:
    """Whether the example with this identity is held out. share: 0..1 of all examples, on average."""
    return place_of(identity) < share


def place_of(identity: bytes) -> float:
    """Where a hash puts this identity, evenly in [0, 1)."""
    return int.from_bytes(blake2b(identity, digest_size=8).digest(), "big") / 2**64
