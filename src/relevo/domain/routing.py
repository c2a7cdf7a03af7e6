"""Who answers: the table that the loop writes and every worker follows.

    alias moved ─► stored Route (epoch n+1) ─► watcher in each worker ─► lanes loaded, warmed ─► router swaps

`pick` is pure: the same key meets the same arm on every worker and host, as long as the epoch stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from relevo.domain.prediction import Arm


class RouteTarget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version with its share of the traffic."""

    version: int
    digest: str  # identity of the package
    arm: Arm
    weight: float  # 0..1; the answering legs of a route sum to 1, a shadow's is its sampling share


class TrafficSplit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The versions that answer for one model; lives until the next epoch."""

    model: str
    epoch: int
    legs: tuple[RouteTarget, ...]
    salt: str = ""
    #: Names by which old clients ask for it, beside those in its packages: the names of imported files.
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChoice:
    """The leg for one request, and the probability it had."""

    leg: RouteTarget
    propensity: float  # 0..1


def answering(route: TrafficSplit) -> tuple[RouteTarget, ...]:
    """The legs that may answer, in their stored order."""
    return tuple(leg for leg in route.legs if leg.arm is not Arm.SHADOW)


def pick(route: TrafficSplit, key: bytes) -> RouteChoice:
    """The answering leg for a key: blake2b(salt ‖ key) as a fraction falls into one leg's share of [0, 1)."""
    legs = answering(route)
    if len(legs) == 1:
        return RouteChoice(leg=legs[0], propensity=1.0)
    point = int.from_bytes(blake2b(route.salt.encode() + key, digest_size=8).digest(), "big") / 2**64
    reached = 0.0
    for leg in legs:
        reached += leg.weight
        if point < reached:
            return RouteChoice(leg=leg, propensity=leg.weight)
    # Weights are floats: their sum may end a hair below the point.
    return RouteChoice(leg=legs[-1], propensity=legs[-1].weight)
