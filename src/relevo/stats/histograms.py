"""Counts of answered requests that add up: what was asked, what failed, how long it took, how sure the answers were.

    latencies in µs ─ bins of a sixteenth of a decade ─┐
    confidences     ─ twentieths ──────────────────────┴─► Tally + Tally ─► percentiles, means, shares

Bins are fixed, so tallies of minutes add up to those of a day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Bins of latency a decade; each is 15 % wide, and a percentile inside one is interpolated.
BINS_PER_DECADE = 16
#: The last one begins at about 87 s.
LATENCY_BINS = 128
SHARE_BINS = 20


def _no_latencies() -> NDArray[np.int64]:
    return np.zeros(LATENCY_BINS, np.int64)


def _no_shares() -> NDArray[np.int64]:
    return np.zeros(SHARE_BINS, np.int64)


@dataclass(slots=True, kw_only=True, eq=False)
class Tally:
    """Counts of some requests; grows by `take_in` and lives as long as an answer is made of it."""

    requests: int = 0  # answered or failed
    errors: int = 0  # on which the model failed
    uncertain: int = 0  # answered with *uncertain*
    latency_us: int = 0  # of all answered, together
    confidence: float = 0.0  # of all answered that had one, together
    latencies: NDArray[np.int64] = field(default_factory=_no_latencies)  # (128,) answered by latency
    confidences: NDArray[np.int64] = field(default_factory=_no_shares)  # (20,) answered by confidence

    @classmethod
    def of(cls, latencies_us: Sequence[int], confidences: Sequence[float], *, errors: int = 0, uncertain: int = 0) -> Tally:
        """The tally of some requests. latencies_us: of those answered; confidences: of those that had one, 0..1."""
        return cls(
            requests=len(latencies_us) + errors,
            errors=errors,
            uncertain=uncertain,
            latency_us=sum(latencies_us),
            confidence=sum(confidences),
            latencies=_binned(BINS_PER_DECADE * np.log10(np.maximum(1, latencies_us)), LATENCY_BINS),
            confidences=_binned(np.multiply(confidences, SHARE_BINS), SHARE_BINS),
        )

    def take_in(self, other: Tally) -> None:
        """Count what the other counted, too."""
        self.requests += other.requests
        self.errors += other.errors
        self.uncertain += other.uncertain
        self.latency_us += other.latency_us
        self.confidence += other.confidence
        # Never in place: the other may be read-only, or be used again.
        self.latencies = self.latencies + other.latencies
        self.confidences = self.confidences + other.confidences

    def latency_ms(self, share: float) -> float | None:
        """The latency in ms that this share (0..1) of the answers stayed within; None without answers.

        Right to the width of a bin, 15 %; inside one, values are taken to lie evenly.
        """
        reached = np.cumsum(self.latencies)
        if not reached[-1]:
            return None
        wanted = share * reached[-1]
        number = int(np.searchsorted(reached, wanted))
        times = self.latencies[number]
        inside = 1 - (reached[number] - wanted) / times if times else 0.0
        low, high = latency_edge(number), latency_edge(number + 1)
        return float(low + (high - low) * inside) / 1000

    def mean_latency_ms(self) -> float | None:
        """The mean latency of the answers in ms, exact; None without answers."""
        times = int(self.latencies.sum())
        return self.latency_us / times / 1000 if times else None

    def mean_confidence(self) -> float | None:
        """The mean confidence of the answers, 0..1, exact; None where no answer had one."""
        times = int(self.confidences.sum())
        return self.confidence / times if times else None


def latency_edge(number: int) -> float:
    """Where a bin of latency begins, in microseconds; the first begins at nothing."""
    return 10.0 ** (number / BINS_PER_DECADE) if number else 0.0


def _binned(places: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    return np.bincount(np.clip(places.astype(np.int64), 0, bins - 1), minlength=bins)
