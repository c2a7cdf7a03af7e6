"""Records of predictions, and of the labels that people give them.

PredictionRecord ──► journal (recording/) ──► store/predictions          Label ──► store/labels ──► resolved label
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import datetime


class Arm(StrEnum):
    """The part of the traffic split that served a request."""

    #: Answered by the current version.
    CHAMPION = "champion"
    #: Answered by the version under evaluation.
    CANARY = "canary"
    #: Computed in addition to the returned answer; never returned.
    SHADOW = "shadow"
    #: The client requested this version; excluded from comparisons.
    PINNED = "pinned"


class InputKind(StrEnum):
    """The format of the stored input."""

    #: The image file as received.
    IMAGE = "image"
    #: One JSON object in UTF-8.
    RECORD = "record"


class InputLogging(StrEnum):
    """Which inputs are stored with their predictions."""

    #: All inputs.
    ALL = "all"
    #: Inputs of uncertain predictions.
    UNCERTAIN = "uncertain"
    #: A share, sampled by the prediction's id.
    SAMPLE = "sample"
    #: None.
    NONE = "none"


class PredictionRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One answered request, or the model's failure on it. Immutable once written.

    Journals store it as an array in this order: new fields go to the end, with a default, so that older journals stay readable.
    """

    id: bytes  # UUIDv7, 16 bytes
    at_us: int  # microseconds since 1970, UTC
    model: str
    version: int
    arm: Arm
    propensity: float  # probability of this arm at the router, 0..1
    epoch: int  # number of the traffic split in force
    kind: InputKind
    input: bytes | None  # None when the setting log_inputs excludes it
    input_bytes: int  # size of the input as received
    predicted_label: str | None = None
    confidence: float | None = None
    uncertain: bool = False
    value: float | None = None  # prediction of a regression
    scores: bytes = b""  # probabilities as little-endian float32, in the manifest's label order
    latency_us: int = 0  # from the parsed request to the response, without the write of the journal
    error: str | None = None  # stable error code when the model failed
    subject: str | None = None  # pseudonym of the data subject, where the client named one
    key: str | None = None  # id of the key that encrypts the input; None: not encrypted
    requested_by: str | None = None  # caller, as in the audit log: "key:…", "user:…"; None without authentication


class ReviewStatus(StrEnum):
    """Result of the review of a label."""

    #: Not reviewed; it counts.
    PENDING = "pending"
    #: It counts; labels that are not accepted no longer do.
    ACCEPTED = "accepted"
    #: It never counts.
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The truth for a prediction, according to one author; a correction is a further Label."""

    prediction: bytes  # id
    value: str  # a label of the model, or a number's text for a regression
    author: str
    source: str  # "page", "api", "cli", "csv", …
    at: datetime  # aware, UTC
    note: str = ""
    serial: int = field(default=0, compare=False)  # its number in the store; 0 before it is there
    review: ReviewStatus = field(default=ReviewStatus.PENDING, compare=False)


def should_log_input(policy: InputLogging, share: float, *, uncertain: bool, prediction_id: bytes) -> bool:
    """Whether an input is kept. `share` (0..1) is used by SAMPLE; the id's random tail decides, so a replay decides alike."""
    if policy is InputLogging.ALL:
        return True
    if policy is InputLogging.UNCERTAIN:
        return uncertain
    if policy is InputLogging.SAMPLE:
        return int.from_bytes(prediction_id[-4:], "big") < share * 2**32
    return False
