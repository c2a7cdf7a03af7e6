"""Selects the held-out examples by a hash of each example's own bytes, so that it stays on its side in every training.

identity bytes ─ blake2b ─► point in [0, 1) ─ below the share? ─► held out
"""

from __future__ import annotations

from hashlib import blake2b


def held_out(identity: bytes, share: float) -> bool:
    """Whether the example with this identity is held out. share: 0..1 of all examples, on average."""
    return hash_position(identity) < share


def hash_position(identity: bytes) -> float:
    """Map this identity to a hash value, uniform in [0, 1)."""
    return int.from_bytes(blake2b(identity, digest_size=8).digest(), "big") / 2**64
