"""Schemas of labels, the label queue and curation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic import Field as Limit

from relevo.domain import ids
from relevo.web.schemas.common import LabelOut, LabelText, Lang, ModelName, Remark

if TYPE_CHECKING:
    from relevo.domain.curation import CurationReport, Exclusion
    from relevo.domain.label_sampling import QueueItem
    from relevo.store.labels.list import LabelEntry
    from relevo.store.predictions import StoredPrediction

_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class QueueItemOut(BaseModel):
    """One prediction to judge, why it was chosen, and how likely it was to be."""

    query_id: str
    model: str
    version: int
    prediction: str | float | None
    confidence: float | None
    reason: str
    propensity: float
    kind: str
    input_kept: bool

    @classmethod
    def from_domain(cls, item: QueueItem, stored: StoredPrediction) -> QueueItemOut:
        """From a queue item and its prediction."""
        record = stored.prediction
        return cls(
            query_id=ids.text(record.id),
            model=record.model,
            version=record.version,
            prediction=record.value if record.predicted_label is None else record.predicted_label,
            confidence=record.confidence,
            reason=item.reason.value,
            propensity=item.propensity,
            kind=record.kind.value,
            input_kept=stored.input_kept,
        )


class QueueOut(BaseModel):
    """What somebody is asked about next; empty when nothing is worth asking."""

    items: list[QueueItemOut]


class ReviewIn(BaseModel):
    """Accept or reject a label."""

    model_config = ConfigDict(extra="forbid", strict=True)

    verdict: Literal["accepted", "rejected"]
    reason: Remark = ""


class LabelEntryOut(LabelOut):
    """A label, with the model that its prediction asked and what that answered."""

    model: str
    prediction: str | float | None

    @classmethod
    def from_entry(cls, entry: LabelEntry) -> LabelEntryOut:
        """From a stored label with its model and prediction."""
        return cls(**LabelOut.from_domain(entry.label).model_dump(), model=entry.model, prediction=entry.answer)


class LabelPage(BaseModel):
    """Some labels, newest first; `next_cursor` asks for the older ones and is null on the last page."""

    items: list[LabelEntryOut]
    next_cursor: int | None


class LabelQuery(BaseModel):
    """What narrows the labels; a filter that is not known is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName | None = None
    author: LabelText | None = None
    source: LabelText | None = None
    cursor: Annotated[int, Limit(ge=1, le=2**63 - 1)] | None = None
    limit: Annotated[int, Limit(ge=1, le=200)] = 50
    lang: Lang = None


class ExclusionOut(BaseModel):
    """One prediction that is not learnt from, and why."""

    query_id: str
    reason: str
    label: str | None
    author: str
    other: str | None

    @classmethod
    def from_domain(cls, exclusion: Exclusion) -> ExclusionOut:
        """From an exclusion; `other` is the prediction that it duplicates or contradicts."""
        return cls(
            query_id=ids.text(exclusion.prediction),
            reason=exclusion.reason.value,
            label=exclusion.value,
            author=exclusion.author,
            other=None if exclusion.other is None else ids.text(exclusion.other),
        )


class CurationPage(BaseModel):
    """How many labelled predictions are learnt from, how many are not by reason, and some of these, oldest first."""

    kept: int
    counts: dict[str, int]
    excluded: list[ExclusionOut]
    next_cursor: str | None

    @classmethod
    def from_domain(cls, report: CurationReport, after: bytes, limit: int) -> CurationPage:
        """One page of the exclusions after a prediction id."""
        rest = [exclusion for exclusion in report.excluded if exclusion.prediction > after]
        return cls(
            kept=len(report.kept),
            counts=report.counts,
            excluded=[ExclusionOut.from_domain(exclusion) for exclusion in rest[:limit]],
            next_cursor=ids.text(rest[limit - 1].prediction) if len(rest) > limit else None,
        )


class CurationQuery(BaseModel):
    """Which page of what was left out."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str, StringConstraints(pattern=_UUID)] | None = None
    limit: Annotated[int, Limit(ge=1, le=1000)] = 100
    lang: Lang = None


class QueueQuery(BaseModel):
    """Whose queue, and how much of it. No model means the default one."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName | None = None
    limit: Annotated[int, Limit(ge=1, le=100)] = 20
    lang: Lang = None
