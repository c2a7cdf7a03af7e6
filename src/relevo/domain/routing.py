"""Traffic splitting: which versions of a model serve requests, and with which weight.

    alias moved ─► stored TrafficSplit (epoch n+1) ─► model loader of each worker ─► versions loaded, warmed up ─► router swaps

`pick` is pure: the same key selects the same arm on every worker and host, within one epoch.
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
    weight: float  # 0..1; the serving targets of a split sum to 1; of a shadow, its sampling rate


class TrafficSplit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The versions that serve one model. Lifetime: until the next epoch."""

    model: str
    epoch: int
    targets: tuple[RouteTarget, ...]
    salt: str = ""
    #: Alternative names of the model, in addition to those in its packages: the names of imported files.
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChoice:
    """The chosen target for one request, and its probability."""

    target: RouteTarget
    propensity: float  # 0..1


def answering(route: TrafficSplit) -> tuple[RouteTarget, ...]:
    """The targets that may serve requests, in stored order."""
    return tuple(target for target in route.targets if target.arm is not Arm.SHADOW)


def pick(route: TrafficSplit, key: bytes) -> RouteChoice:
    """The serving target for a key: blake2b(salt ‖ key) as a fraction falls into one target's share of [0, 1)."""
    targets = answering(route)
    if len(targets) == 1:
        return RouteChoice(target=targets[0], propensity=1.0)
    point = int.from_bytes(blake2b(route.salt.encode() + key, digest_size=8).digest(), "big") / 2**64
    cumulative = 0.0
    for target in targets:
        cumulative += target.weight
        if point < cumulative:
            return RouteChoice(target=target, propensity=target.weight)
    # The sum of float weights may be slightly below the point.
    return RouteChoice(target=targets[-1], propensity=targets[-1].weight)
