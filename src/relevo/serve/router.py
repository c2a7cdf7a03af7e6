"""The lanes of one model, and which of them answers a request.

    key ─ route.pick ─► leg ─► lane                     swap = one assignment: a request sees the old table or the new one, never half
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.domain.route import Pick, Route, pick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.serve.lane import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """One route with its lanes loaded; lives until the next swap."""

    route: Route
    lanes: Mapping[str, Lane]  # by package digest

    def pick(self, key: bytes) -> tuple[Lane, Pick]:
        """The lane for a key, with the arm and propensity to log."""
        picked = pick(self.route, key)
        return self.lanes[picked.leg.digest], picked
