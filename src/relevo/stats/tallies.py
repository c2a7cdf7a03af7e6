"""Counts of answered requests that add up: what was asked, what failed, how long it took, how sure the answers were.

    latency_us ─ latency_bin ─┐
    confidence ─ share_bin  ──┴─► (measure, bin): times, total ─ Tally + Tally ─► percentiles, mean, shares

Bins are fixed, so tallies of minutes add up to those of a day, wherever they are added: here, or in a database.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import log10

#: Bins of latency a decade; each is 15 % wide, and a percentile inside one is interpolated.
A_DECADE = 16
#: The last one begins at about 87 s.
LATENCY_BINS = 128
SHARE_BINS = 20


class Measure(StrEnum):
    """What a count is of."""

    #: Every request that was answered or failed.
    REQUESTS = "requests"
    #: Those on which the model failed.
    ERRORS = "errors"
    #: Those answered with *uncertain*.
    UNCERTAIN = "uncertain"
    #: Answered ones by latency; the total is in microseconds.
    LATENCY = "latency"
    #: Answered ones by confidence; the total is of shares 0..1.
    CONFIDENCE = "confidence"


def latency_bin(latency_us: int) -> int:
    """The bin of a latency in microseconds, 0..127."""
    return min(int(A_DECADE * log10(latency_us)), LATENCY_BINS - 1) if latency_us > 1 else 0


def latency_edge(number: int) -> float:
    """Where a bin of latency begins, in microseconds; the first begins at nothing."""
    return 10.0 ** (number / A_DECADE) if number else 0.0


def share_bin(share: float) -> int:
    """The bin of a share 0..1, 0..19."""
    return min(max(int(share * SHARE_BINS), 0), SHARE_BINS - 1)


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of some requests; grows by `add` and lives as long as an answer is made of it."""

    requests: int = 0
    errors: int = 0
    uncertain: int = 0
    latency: dict[int, int] = field(default_factory=dict)  # bin → times
    latency_us: float = 0.0  # of all answered together
    confidence: dict[int, int] = field(default_factory=dict)  # bin → times
    confidence_sum: float = 0.0

    def add(self, measure: str, number: int, times: int, total: float) -> None:
        """Count so many more in one bin."""
        if measure == Measure.LATENCY:
            self.latency[number] = self.latency.get(number, 0) + times
            self.latency_us += total
        elif measure == Measure.CONFIDENCE:
            self.confidence[number] = self.confidence.get(number, 0) + times
            self.confidence_sum += total
        elif measure == Measure.REQUESTS:
            self.requests += times
        elif measure == Measure.ERRORS:
            self.errors += times
        elif measure == Measure.UNCERTAIN:
            self.uncertain += times

    def take_in(self, other: Tally) -> None:
        """Count what the other counted, too."""
        self.requests += other.requests
        self.errors += other.errors
        self.uncertain += other.uncertain
        self.latency_us += other.latency_us
        self.confidence_sum += other.confidence_sum
        for mine, theirs in ((self.latency, other.latency), (self.confidence, other.confidence)):
            for number, times in theirs.items():
                mine[number] = mine.get(number, 0) + times

    def latency_ms(self, share: float) -> float | None:
        """The latency in ms that this share (0..1) of the answers stayed within; None without answers.

        Right to the width of a bin, 15 %; inside one, values are taken to lie evenly.
        """
        wanted = share * sum(self.latency.values())
        for number in sorted(self.latency):
            times = self.latency[number]
            if times >= wanted:
                low, high = latency_edge(number), latency_edge(number + 1)
                return (low + (high - low) * wanted / times) / 1000
            wanted -= times
        return None

    def mean_latency_ms(self) -> float | None:
        """The mean latency of the answers in ms, exact; None without answers."""
        times = sum(self.latency.values())
        return self.latency_us / times / 1000 if times else None

    def mean_confidence(self) -> float | None:
        """The mean confidence of the answers, 0..1, exact; None where no answer had one."""
        times = sum(self.confidence.values())
        return self.confidence_sum / times if times else None

    def confidences(self) -> list[int]:
        """How many answers fell into each twentieth of confidence, from 0 to 1."""
        return [self.confidence.get(number, 0) for number in range(SHARE_BINS)]
