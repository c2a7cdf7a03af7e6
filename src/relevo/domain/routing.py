"""Who answers: the table that the loop writes and every worker follows.

    alias moved ─► stored Route (epoch n+1) ─► watcher in each worker ─► lanes loaded, warmed ─► router swaps

`pick` is pure: the same key meets the same arm on every worker and host, as long as the epoch stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from relevo.domain.prediction import Arm


class Leg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version with its share of the traffic."""

    version: int
    digest: str  # identity of the package
    arm: Arm
    weight: float  # 0..1; the answering legs of a route sum to 1, a shadow's is its sampling share


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The versions that answer for one model; lives until the next epoch."""

    model: str
    epoch: int
    legs: tuple[Leg, ...]
    salt: str = ""
    #: Names by which old clients ask for it, beside those in its packages: the names of imported files.
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The leg for one request, and the probability it had."""

    leg: Leg
    propensity: float  # 0..1


def answering(route: Route) -> tuple[Leg, ...]:
    """The legs that may answer, in their stored order."""
    return tuple(leg for leg in route.legs if leg.arm is not Arm.SHADOW)


def pick(route: Route, key: bytes) -> Pick:
    """The answering leg for a key: blake2b(salt ‖ key) as a fraction falls into one leg's share of [0, 1)."""
    legs = answering(route)
    if len(legs) == 1:
        return Pick(leg=legs[0], propensity=1.0)
    point = int.from_bytes(blake2b(route.salt.encode() + key, digest_size=8).digest(), "big") / 2**64
    reached = 0.0
    for leg in legs:
        reached += leg.weight
        if point < reached:
            return Pick(leg=leg, propensity=leg.weight)
    # Weights are floats: their sum may end a hair below the point.
    return Pick(leg=legs[-1], propensity=legs[-1].weight)
