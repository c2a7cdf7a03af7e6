"""The JSON of the label queue and of labels in bulk, as explicit types; see `shapes` for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic import Field as Limit

from relevo.domain import ids
from relevo.web.schemas.common import LabelText, Lang, ModelName, Remark, Truth

if TYPE_CHECKING:
    from relevo.domain.curation import CurationReport, Exclusion
    from relevo.domain.label_sampling import QueueItem
    from relevo.store.labels.list import LabelEntry
    from relevo.store.predictions import StoredPrediction

_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class Asked(BaseModel):
    """One prediction to judge, why it was chosen, and how likely it was to be."""

    query_id: str
    model: str
    version: int
    prediction: str | float | None
    confidence: float | None
    why: str
    propensity: float
    kind: str
    input_kept: bool

    @classmethod
    def of(cls, ask: QueueItem, stored: StoredPrediction) -> Asked:
        """An ask and the prediction it is about."""
        it = stored.prediction
        return cls(
            query_id=ids.text(it.id),
            model=it.model,
            version=it.version,
            prediction=it.value if it.label is None else it.label,
            confidence=it.confidence,
            why=ask.why.value,
            propensity=ask.propensity,
            kind=it.kind.value,
            input_kept=stored.input_kept,
        )


class Queue(BaseModel):
    """What somebody is asked about next; empty when nothing is worth asking."""

    items: list[Asked]


class Judge(BaseModel):
    """Accept or reject a label."""

    model_config = ConfigDict(extra="forbid", strict=True)

    verdict: Literal["accepted", "rejected"]
    reason: Remark = ""


class LabelView(Truth):
    """A label, with the model that its prediction asked and what that answered."""

    model: str
    prediction: str | float | None

    @classmethod
    def about(cls, given: LabelEntry) -> LabelView:
        """A label and what it is about."""
        return cls(**Truth.of(given.label).model_dump(), model=given.model, prediction=given.answer)


class LabelPage(BaseModel):
    """Some labels, newest first; `next_cursor` asks for the older ones and is null on the last page."""

    items: list[LabelView]
    next_cursor: int | None


class LabelWindow(BaseModel):
    """What narrows the labels; a filter that is not known is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName | None = None
    author: LabelText | None = None
    source: LabelText | None = None
    cursor: Annotated[int, Limit(ge=1, le=2**63 - 1)] | None = None
    limit: Annotated[int, Limit(ge=1, le=200)] = 50
    lang: Lang = None


class ExclusionView(BaseModel):
    """One prediction that is not learnt from, and why."""

    query_id: str
    reason: str
    label: str | None
    author: str
    other: str | None

    @classmethod
    def of(cls, one: Exclusion) -> ExclusionView:
        """An exclusion; `other` is the prediction that it repeats or contradicts."""
        return cls(
            query_id=ids.text(one.prediction),
            reason=one.reason.value,
            label=one.value,
            author=one.author,
            other=None if one.other is None else ids.text(one.other),
        )


class CleaningPage(BaseModel):
    """How many labelled predictions are learnt from, how many are not by reason, and some of these, oldest first."""

    kept: int
    counts: dict[str, int]
    excluded: list[ExclusionView]
    next_cursor: str | None

    @classmethod
    def of(cls, found: CurationReport, after: bytes, limit: int) -> CleaningPage:
        """A page of what was left out."""
        rest = [one for one in found.excluded if one.prediction > after]
        return cls(
            kept=len(found.kept),
            counts=found.counts,
            excluded=[ExclusionView.of(one) for one in rest[:limit]],
            next_cursor=ids.text(rest[limit - 1].prediction) if len(rest) > limit else None,
        )


class CleaningWindow(BaseModel):
    """Which page of what was left out."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str, StringConstraints(pattern=_UUID)] | None = None
    limit: Annotated[int, Limit(ge=1, le=1000)] = 100
    lang: Lang = None


class QueueWindow(BaseModel):
    """Whose queue, and how much of it. No model means the default one."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName | None = None
    limit: Annotated[int, Limit(ge=1, le=100)] = 20
    lang: Lang = None
