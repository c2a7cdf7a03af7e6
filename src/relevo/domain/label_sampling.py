"""Which predictions people are asked about, and how likely that was; whoever estimates from the labels weighs by it.

    of the newest predictions    uncertain ─► asked, all of them          propensity 1
                                 disputed  ─► asked, all of them          propensity 1
                                 the rest  ─► a share, drawn by the id    propensity = the share

Within each kind the turn of a prediction is drawn by the random bits of its id, too. So wherever people stop, those asked so far
are a fair sample of their kind: neither the newest nor the easiest. The kinds among each other are no sample until the queue is
empty, since the uncertain come first; so whoever estimates before takes each kind's own rate, by how many of it there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SamplingReason(StrEnum):
    """What made a prediction worth asking about, the first that holds."""

    #: The model itself did not know.
    UNCERTAIN = "uncertain"
    #: Two people, or two versions on the same input, said different things.
    DISAGREEMENT = "disagreement"
    #: Drawn by lot, so that estimates stay fair.
    RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueItem:
    """One prediction that somebody was asked about."""

    prediction: bytes  # id
    why: SamplingReason
    propensity: float  # probability with which the queue asks about it, 0..1


#: The bytes of an id that draw the lot: random ones, and others than those which decide whether an input is kept.
LOT_FROM, LOT_BYTES = 9, 3
_LOTS = 256**LOT_BYTES


def sampling_key(prediction: bytes) -> bytes:
    """What was drawn for this prediction; smaller ones have their turn earlier."""
    return prediction[LOT_FROM : LOT_FROM + LOT_BYTES]


def sampling_threshold(share: float) -> bytes:
    """The smallest lot that is not among this share (0..1) of all; longer than any lot when all are."""
    edge = round(share * _LOTS)
    return bytes([255] * LOT_BYTES) + b"\0" if edge >= _LOTS else edge.to_bytes(LOT_BYTES, "big")
