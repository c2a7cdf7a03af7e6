"""Schemas of models, versions, aliases, predictions and health: all JSON except predict. Fields not listed here are never sent.

Response schemas are built from stored values with `of`; request schemas reject unknown keys.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it when it makes the classes
from typing import TYPE_CHECKING, Annotated, Any, Literal, Never

import numpy as np
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic import Field as Limit
from pydantic_core import PydanticCustomError

from relevo.domain import ids
from relevo.util.time_parsing import aware
from relevo.util.timestamps import from_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.domain.prediction import Label
    from relevo.serve.service import ModelState
    from relevo.store.predictions import StoredPrediction
    from relevo.store.registry import AliasMove, Model, Version

#: No control characters: databases reject the zero byte, and labels need none of the others.
PLAIN = r"^[^\x00-\x1f\x7f]*$"
#: Largest integer of both databases.
MAX_VERSION = 2**31 - 1


def _parse_time(text: object) -> object:
    # Pydantic alone would accept bare numbers as seconds since 1970.
    try:
        return aware(text) if isinstance(text, str) else _invalid_time()
    except ValueError:
        return _invalid_time()


def _invalid_time() -> Never:
    raise PydanticCustomError("datetime_parsing", "no time")


def _parse_bool(text: object) -> bool:
    if text in ("true", "false"):
        return text == "true"
    raise ValueError


def _integral_to_int(number: object) -> object:
    # In JSON, 2.0 and 2 are the same number.
    return int(number) if isinstance(number, float) and number.is_integer() else number


ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
AliasName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
VersionNumber = Annotated[int, Limit(ge=1, le=MAX_VERSION)]
LabelText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PLAIN)]
Remark = Annotated[str, StringConstraints(max_length=500, pattern=PLAIN)]
Moment = Annotated[AwareDatetime, BeforeValidator(_parse_time, json_schema_input_type=AwareDatetime)]
#: Query parameter that selects the language; read by `request_info`, not a filter.
Lang = Annotated[str, StringConstraints(max_length=20)] | None
YesNo = Annotated[bool, BeforeValidator(_parse_bool, json_schema_input_type=Literal["true", "false"])]


class ErrorBody(BaseModel):
    """What every refusal looks like."""

    error: str
    code: str
    field: str | None = None
    row: int | None = None
    #: For a refused promotion: rows of metric, current version, new version.
    compared: list[list[str]] | None = None
    request_id: str


class Live(BaseModel):
    """The process lives."""

    live: Literal[True] = True


class ModelHealth(BaseModel):
    """How one model stands in this worker."""

    name: str
    version: int | None
    ready: bool
    reason: str


class StoreHealth(BaseModel):
    """Whether the database takes what the journals hold. Predictions are answered, and kept in journals, while it does not."""

    ok: bool
    code: str  # "" or an error code: store_missing, store_damaged, …
    reason: str
    #: Time at which the database file was replaced, perhaps by an older backup; shipped journals are then kept for a day. Else null.
    exchanged: datetime | None = None


class Ready(BaseModel):
    """Whether a prediction would be answered now."""

    ready: bool
    reason: str
    models: list[ModelHealth]
    store: StoreHealth


class ModelSummary(BaseModel):
    """A model: its versions, where its aliases stand, and whether this worker answers for it."""

    name: str
    created: datetime
    versions: int
    aliases: dict[str, int]
    ready: bool
    serving: int | None
    reason: str

    @classmethod
    def from_domain(cls, model: Model, state: ModelState | None) -> ModelSummary:
        """From a registered model and its state in this worker."""
        return cls(
            name=model.name,
            created=model.at,
            versions=model.versions,
            aliases=model.aliases,
            ready=state is not None and state.ready,
            serving=None if state is None else state.version,
            reason="no version of it is in charge" if state is None else state.reason,
        )


class ModelList(BaseModel):
    """Every registered model."""

    models: list[ModelSummary]


class VersionSummary(BaseModel):
    """One immutable package under a model's name."""

    model: str
    version: int
    digest: str
    created: datetime
    author: str
    summary: dict[str, Any]

    @classmethod
    def from_domain(cls, version: Version) -> VersionSummary:
        """From a registered version."""
        return cls(
            model=version.model,
            version=version.number,
            digest=version.digest,
            created=version.at,
            author=version.author,
            summary=version.summary,
        )


class ModelDetail(ModelSummary):
    """A model with all its versions, newest first."""

    history: list[VersionSummary]


class AliasChange(BaseModel):
    """One step of an alias."""

    model: str
    alias: str
    version: int
    previous: int | None
    author: str
    reason: str
    at: datetime

    @classmethod
    def from_domain(cls, move: AliasMove) -> AliasChange:
        """From a stored change."""
        return cls(
            model=move.model,
            alias=move.alias,
            version=move.version,
            previous=move.previous,
            author=move.author,
            reason=move.reason,
            at=move.at,
        )


class Aliases(BaseModel):
    """Where each alias stands, and the steps that led there, newest first."""

    aliases: dict[str, int]
    moves: list[AliasChange]
    next_before: int | None  # value of `before` for the next page; None on the last page


class Alias(BaseModel):
    """Where one alias stands."""

    alias: str
    version: int


class AliasUpdate(BaseModel):
    """Ask that an alias name another version."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Annotated[VersionNumber, BeforeValidator(_integral_to_int, json_schema_input_type=VersionNumber)]
    reason: Remark = ""
    #: Promote despite an incompatible signature or worse metrics; requires a reason.
    force: bool = False


class Figures(BaseModel):
    """Names of the pictures in a version's package."""

    figures: list[str]


class LabelOut(BaseModel):
    """The truth of a prediction, as one author saw it."""

    query_id: str
    value: str
    author: str
    source: str
    at: datetime
    note: str
    number: int
    verdict: str

    @classmethod
    def from_domain(cls, label: Label) -> LabelOut:
        """From a stored label."""
        return cls(
            query_id=ids.text(label.prediction),
            value=label.value,
            author=label.author,
            source=label.source,
            at=label.at,
            note=label.note,
            number=label.serial,
            verdict=label.review.value,
        )


class LabelList(BaseModel):
    """The label that counts, and all that were given, in their order."""

    query_id: str
    label: str | None
    history: list[LabelOut]


class LabelIn(BaseModel):
    """Tell the truth of a prediction. A number may stand for a regression's value."""

    model_config = ConfigDict(extra="forbid", strict=True)

    value: LabelText | int | float
    note: Remark = ""


class PredictionOut(BaseModel):
    """One answered request, as the history has it."""

    query_id: str
    at: datetime
    model: str
    version: int
    arm: str
    propensity: float
    epoch: int
    kind: str
    input_kept: bool
    input_bytes: int
    prediction: str | float | None
    confidence: float | None
    probabilities: list[float]
    uncertain: bool
    latency_ms: float
    error: str | None
    label: str | None
    #: Actor of the request: "key:…" or "user:…", and its name; null without authentication.
    requested_by: str | None = None
    requested_by_name: str | None = None

    @classmethod
    def from_domain(cls, stored: StoredPrediction, label: Label | None, names: Mapping[str, str] | None = None) -> PredictionOut:
        """From a stored prediction and its effective label. names: names of actors, by actor."""
        record = stored.prediction
        return cls(
            query_id=ids.text(record.id),
            at=from_us(record.at_us),
            model=record.model,
            version=record.version,
            arm=record.arm.value,
            propensity=record.propensity,
            epoch=record.epoch,
            kind=record.kind.value,
            input_kept=stored.input_kept,
            input_bytes=record.input_bytes,
            prediction=record.value if record.predicted_label is None else record.predicted_label,
            confidence=record.confidence,
            # float32 has seven significant digits.
            probabilities=[round(share, 7) for share in np.frombuffer(record.scores, dtype="<f4").tolist()],
            uncertain=record.uncertain,
            latency_ms=record.latency_us / 1000,
            error=record.error,
            label=None if label is None else label.value,
            requested_by=record.requested_by,
            requested_by_name=(names or {}).get(record.requested_by or ""),
        )


class PredictionPage(BaseModel):
    """Some predictions, newest first; `next_cursor` asks for the older ones and is null on the last page."""

    items: list[PredictionOut]
    next_cursor: str | None


class ExportQuery(BaseModel):
    """What narrows an export; a filter that is not known is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName | None = None
    version: VersionNumber | None = None
    since: Moment | None = None
    until: Moment | None = None
    label: LabelText | None = None
    uncertain: YesNo | None = None
    truth: LabelText | None = None
    labelled: YesNo | None = None
    requested_by: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    lang: Lang = None


class PredictionQuery(ExportQuery):
    """What narrows the history, and which page of it is asked for."""

    cursor: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}$")] | None = None
    limit: Annotated[int, Limit(ge=1, le=200)] = 50
