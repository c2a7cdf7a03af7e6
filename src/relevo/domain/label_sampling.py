"""Sampling of predictions for labelling, with the sampling probability (propensity) as weight for estimates.

    newest predictions    uncertain ─► all                               propensity 1
                          disputed  ─► all                               propensity 1
                          others    ─► a share, sampled by the id        propensity = the share

Within each stratum the order is random, by the random bits of the id. So the labelled predictions of a stratum are always an
unbiased sample of it, wherever labelling stops. The strata together are not, until the queue is empty, since the uncertain ones
come first: before that, an estimate must be computed per stratum and weighted by the stratum's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SamplingReason(StrEnum):
    """Why a prediction is in the label queue; the first reason that applies."""

    #: The model's prediction was uncertain.
    UNCERTAIN = "uncertain"
    #: Two authors, or two versions on the same input, disagree.
    DISAGREEMENT = "disagreement"
    #: Sampled at random, for unbiased estimates.
    RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueItem:
    """One prediction in the label queue."""

    prediction: bytes  # id
    reason: SamplingReason
    propensity: float  # sampling probability, 0..1


#: Bytes of the id that are the sampling key: random ones, disjoint from those that decide whether an input is stored.
LOT_FROM, LOT_BYTES = 9, 3
_KEY_SPACE = 256**LOT_BYTES


def sampling_key(prediction: bytes) -> bytes:
    """The random sampling key of a prediction; smaller keys come first."""
    return prediction[LOT_FROM : LOT_FROM + LOT_BYTES]


def sampling_threshold(share: float) -> bytes:
    """The smallest sampling key outside the given share (0..1); longer than any key when the share is 1."""
    threshold = round(share * _KEY_SPACE)
    return bytes([255] * LOT_BYTES) + b"\0" if threshold >= _KEY_SPACE else threshold.to_bytes(LOT_BYTES, "big")
