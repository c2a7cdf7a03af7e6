"""Chooses the version of one model that answers a request.

key ─ route.pick ─► target ─► RouteChoice        a swap is one assignment: a request sees the old table or the new one, never a mix
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from relevo.domain.routing import TrafficSplit, pick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.domain.prediction import Arm
    from relevo.serve.loaded_version import LoadedVersion


class RouteChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The version for one request, with what the prediction record needs about the choice."""

    loaded: LoadedVersion
    arm: Arm
    propensity: float  # probability of this arm, 0..1
    epoch: int


class Router:
    """A route with its loaded versions. Lifetime: until the next swap."""

    def __init__(self, route: TrafficSplit, loaded_versions: Mapping[str, LoadedVersion]) -> None:
        """loaded_versions: by package digest, one for each target of the route."""
        self.route = route
        self.loaded_versions = loaded_versions
        first = pick(route, b"")
        # A route with one target needs no random choice.
        self._only = self._choose(b"") if first.propensity == 1.0 else None

    def choose(self, key: bytes) -> RouteChoice:
        """The version for a key, with the arm, propensity and epoch to record."""
        return self._only or self._choose(key)

    def _choose(self, key: bytes) -> RouteChoice:
        choice = pick(self.route, key)
        target = choice.target
        return RouteChoice(
            loaded=self.loaded_versions[target.digest], arm=target.arm, propensity=choice.propensity, epoch=self.route.epoch
        )
