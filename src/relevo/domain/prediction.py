"""What is remembered of one answered request, and the truth that may come later.

Prediction ──► journal (spool/) ──► store.history          Label ──► store.labels ──► resolved truth
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import datetime


class Arm(StrEnum):
    """Which part of the traffic a request fell into."""

    #: Answered by the version in charge.
    CHAMPION = "champion"
    #: Answered by the version on trial.
    CANARY = "canary"
    #: Asked beside the answering version; never returned.
    SHADOW = "shadow"
    #: The caller named the version itself; outside every comparison.
    PINNED = "pinned"


class InputKind(StrEnum):
    """What the stored input bytes are."""

    #: The image file as it came.
    IMAGE = "image"
    #: One JSON object in UTF-8.
    RECORD = "record"


class InputLogging(StrEnum):
    """Which inputs are kept beside their predictions."""

    #: Every one.
    ALL = "all"
    #: Those of uncertain answers.
    UNCERTAIN = "uncertain"
    #: A share, drawn by the prediction's id.
    SAMPLE = "sample"
    #: None.
    NONE = "none"


class PredictionRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One answered request, or the model's failure on it; never changed after it was written.

    Journals hold it as an array in this order: new fields go to the end, with a default, so that an older journal still reads.
    """

    id: bytes  # UUIDv7, 16 bytes
    at_us: int  # microseconds since 1970, UTC
    model: str
    version: int
    arm: Arm
    propensity: float  # probability with which the router gave this arm, 0..1
    epoch: int  # number of the route that was in force
    kind: InputKind
    input: bytes | None  # None when the policy does not keep it
    input_bytes: int  # size of the input as it came
    label: str | None = None
    confidence: float | None = None
    uncertain: bool = False
    value: float | None = None  # a regression's answer
    scores: bytes = b""  # probabilities as little-endian float32, in the manifest's label order
    latency_us: int = 0  # from the parsed request to the answer, recording included only up to the hand-over
    error: str | None = None  # stable error code when the model failed
    subject: str | None = None  # pseudonym of whom the input is about, where the caller said so
    key: str | None = None  # id of the key that the input is sealed with; None: it is as it came
    asked_by: str | None = None  # who asked, as the audit calls them: "key:…", "user:…"; None while nobody has to say


class ReviewStatus(StrEnum):
    """What somebody who may judge labels thought of one."""

    #: Nobody has judged it; it counts.
    PENDING = "pending"
    #: It counts, and those that nobody accepted no longer do.
    ACCEPTED = "accepted"
    #: It never counts.
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The truth for a prediction, as one author saw it; a correction is a further Label."""

    prediction: bytes  # id
    value: str  # a label of the model, or a number's text for a regression
    author: str
    source: str  # "page", "api", "cli", "csv", …
    at: datetime  # aware, UTC
    note: str = ""
    serial: int = field(default=0, compare=False)  # its number in the store; 0 before it is there
    verdict: ReviewStatus = field(default=ReviewStatus.PENDING, compare=False)


def should_log_input(policy: InputLogging, share: float, *, uncertain: bool, prediction_id: bytes) -> bool:
    """Whether an input is kept. `share` (0..1) is used by SAMPLE; the id's random tail decides, so a replay decides alike."""
    if policy is InputLogging.ALL:
        return True
    if policy is InputLogging.UNCERTAIN:
        return uncertain
    if policy is InputLogging.SAMPLE:
        return int.from_bytes(prediction_id[-4:], "big") < share * 2**32
    return False
