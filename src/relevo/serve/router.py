"""The lanes of one model, and which of them answers a request.

key ─ route.pick ─► leg ─► Chosen lane        swap = one assignment: a request sees the old table or the new, never half of each
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
    """The lane for one request, with what the history must know of the choice."""

    lane: LoadedVersion
    arm: Arm
    propensity: float  # probability with which this arm was given, 0..1
    epoch: int


class Router:
    """One route with its lanes loaded; lives until the next swap."""

    def __init__(self, route: TrafficSplit, lanes: Mapping[str, LoadedVersion]) -> None:
        """lanes: by package digest, one for each leg of the route."""
        self.route = route
        self.lanes = lanes
        first = pick(route, b"")
        # With one leg there is nothing to draw.
        self._only = self._chosen(b"") if first.propensity == 1.0 else None

    def pick(self, key: bytes) -> RouteChoice:
        """The lane for a key, with arm, propensity and epoch to log."""
        return self._only or self._chosen(key)

    def _chosen(self, key: bytes) -> RouteChoice:
        picked = pick(self.route, key)
        leg = picked.leg
        return RouteChoice(lane=self.lanes[leg.digest], arm=leg.arm, propensity=picked.propensity, epoch=self.route.epoch)
