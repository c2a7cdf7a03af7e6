"""Mergeable counters and histograms of answered requests: requests, errors, latencies, confidences.

    latencies in µs ─ bins of a sixteenth of a decade ─┐
    confidences     ─ twentieths ──────────────────────┴─► Tally + Tally ─► percentiles, means, shares

The bins are fixed, so the tallies of minutes add up to those of a day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Latency bins per decade; each is 15 % wide, and percentiles are interpolated within a bin.
BINS_PER_DECADE = 16
#: The last bin begins at about 87 s.
LATENCY_BINS = 128
SHARE_BINS = 20


def _empty_latencies() -> NDArray[np.int64]:
    return np.zeros(LATENCY_BINS, np.int64)


def _empty_confidences() -> NDArray[np.int64]:
    return np.zeros(SHARE_BINS, np.int64)


@dataclass(slots=True, kw_only=True, eq=False)
class Tally:
    """Counts of a set of requests; `take_in` merges another tally into it. Lifetime: the computation of a report."""

    requests: int = 0  # answered or failed
    errors: int = 0  # failures of the model
    uncertain: int = 0  # answered with *uncertain*
    latency_us: int = 0  # sum over all answered requests
    confidence: float = 0.0  # sum over all answers with a confidence
    latencies: NDArray[np.int64] = field(default_factory=_empty_latencies)  # (128,) answers by latency
    confidences: NDArray[np.int64] = field(default_factory=_empty_confidences)  # (20,) answers by confidence

    @classmethod
    def from_values(
        cls, latencies_us: Sequence[int], confidences: Sequence[float], *, errors: int = 0, uncertain: int = 0
    ) -> Tally:
        """The tally of these requests. latencies_us: of the answered ones; confidences: of the answers that have one, 0..1."""
        return cls(
            requests=len(latencies_us) + errors,
            errors=errors,
            uncertain=uncertain,
            latency_us=sum(latencies_us),
            confidence=sum(confidences),
            latencies=_bin_counts(BINS_PER_DECADE * np.log10(np.maximum(1, latencies_us)), LATENCY_BINS),
            confidences=_bin_counts(np.multiply(confidences, SHARE_BINS), SHARE_BINS),
        )

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally."""
        self.requests += other.requests
        self.errors += other.errors
        self.uncertain += other.uncertain
        self.latency_us += other.latency_us
        self.confidence += other.confidence
        # Never in place: the arrays of the other tally may be read-only, or used again.
        self.latencies = self.latencies + other.latencies
        self.confidences = self.confidences + other.confidences

    def latency_ms(self, share: float) -> float | None:
        """Percentile of the latency in ms: this share (0..1) of the answers was at most as slow. None without answers.

        Accurate to the width of a bin, 15 %; within a bin, values are assumed to be uniform.
        """
        cumulative = np.cumsum(self.latencies)
        if not cumulative[-1]:
            return None
        target = share * cumulative[-1]
        number = int(np.searchsorted(cumulative, target))
        count = self.latencies[number]
        inside = 1 - (cumulative[number] - target) / count if count else 0.0
        low, high = latency_edge(number), latency_edge(number + 1)
        return float(low + (high - low) * inside) / 1000

    def mean_latency_ms(self) -> float | None:
        """Exact mean latency of the answers in ms; None without answers."""
        count = int(self.latencies.sum())
        return self.latency_us / count / 1000 if count else None

    def mean_confidence(self) -> float | None:
        """Exact mean confidence of the answers, 0..1; None if no answer has one."""
        count = int(self.confidences.sum())
        return self.confidence / count if count else None


def latency_edge(number: int) -> float:
    """Lower edge of a latency bin in microseconds; that of the first bin is 0."""
    return 10.0 ** (number / BINS_PER_DECADE) if number else 0.0


def _bin_counts(positions: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    return np.bincount(np.clip(positions.astype(np.int64), 0, bins - 1), minlength=bins)
