"""Resolved labels: computes which label applies to a prediction and stores it in the prediction's row, so that filters can use it.

    labels ⨝ last review of each ─► current rule ─► predictions.truth, predictions.disputed

All functions work within the caller's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row, func, select, text, union

from relevo.domain.label_aggregation import LabelAggregation, is_disputed
from relevo.domain.prediction import Label, ReviewStatus
from relevo.store.db.tables import label_aggregation, label_reviews, labels, predictions
from relevo.util.timestamps import from_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from relevo.store.labels.notes import Notes

_CURRENT, _PENDING = 1, 2
_UPSERT_RULE = text(
    'INSERT INTO label_aggregation ("row", rule) VALUES (:row, :rule) ON CONFLICT ("row") DO UPDATE SET rule = excluded.rule'
)


def labels_of(connection: Connection, ids: Sequence[bytes], notes: Notes | None = None) -> dict[bytes, list[Label]]:
    """Returns every label of these predictions, oldest first, each with its last review.

    notes: decrypts their notes; without it notes are empty.
    """
    serials = select(labels.c.serial).where(labels.c.prediction.in_(ids))
    newest = select(func.max(label_reviews.c.serial)).where(label_reviews.c.label.in_(serials)).group_by(label_reviews.c.label)
    last_reviews = select(label_reviews.c.label, label_reviews.c.verdict).where(label_reviews.c.serial.in_(newest))
    reviews = {row.label: ReviewStatus(row.verdict) for row in connection.execute(last_reviews)}
    result: dict[bytes, list[Label]] = {}
    for row in connection.execute(select(labels).where(labels.c.prediction.in_(ids)).order_by(labels.c.serial)):
        note = "" if notes is None else notes.read(connection, row)
        label = label_of(row, reviews.get(row.serial, ReviewStatus.PENDING), note)
        result.setdefault(label.prediction, []).append(label)
    return result


def label_of(row: Row[Any], verdict: ReviewStatus, note: str) -> Label:
    """Creates the value from a row of `labels`."""
    return Label(
        prediction=bytes(row.prediction),
        value=row.value,
        author=row.author,
        source=row.source,
        at=from_us(row.at_us),
        note=note,
        serial=row.serial,
        review=verdict,
    )


def recompute(connection: Connection, ids: Sequence[bytes]) -> None:
    """Recomputes the resolved labels of these predictions."""
    rule = rule_of(connection)
    labels_by_id = labels_of(connection, ids)
    for prediction in ids:
        candidates = labels_by_id.get(prediction, [])
        label = rule.resolve(candidates)
        values = {"truth": None if label is None else label.value, "disputed": is_disputed(candidates)}
        connection.execute(predictions.update().where(predictions.c.id == prediction).values(values))


def labelled_ids(connection: Connection, model: str, after: bytes, limit: int) -> list[bytes]:
    """Returns ids greater than `after` of a model's predictions that have a resolved label or a dispute, ascending."""
    conditions = (predictions.c.model == model, predictions.c.id > after)
    states = (predictions.c.truth.is_not(None), predictions.c.disputed.is_(True))
    parts = [
        select(predictions.c.id).where(*conditions, condition).order_by(predictions.c.id).limit(limit).subquery()
        for condition in states
    ]
    candidates = union(*(select(part) for part in parts)).subquery()
    return [bytes(row.id) for row in connection.execute(select(candidates.c.id).order_by(candidates.c.id).limit(limit))]


def fingerprint(connection: Connection) -> str:
    """Returns a fingerprint of all labels; it changes whenever a label, review, erasure or the rule changes."""
    label_stats = connection.execute(select(func.count(), func.max(labels.c.serial))).one()
    last_review = connection.scalar(select(func.max(label_reviews.c.serial)))
    return f"{label_stats[0]} {label_stats[1]} {last_review} {encode_rule(rule_of(connection))}"


def rule_of(connection: Connection) -> LabelAggregation:
    """Returns the current rule; by default the last label applies."""
    stored = connection.scalar(select(label_aggregation.c.rule).where(label_aggregation.c.row == _CURRENT))
    return LabelAggregation() if stored is None else msgspec.json.decode(stored, type=LabelAggregation)


def is_recomputed(connection: Connection) -> bool:
    """Whether every resolved label was computed by the current rule."""
    return connection.scalar(select(label_aggregation.c.row).where(label_aggregation.c.row == _PENDING)) is None


def encode_rule(rule: LabelAggregation) -> str:
    """Returns the rule as JSON, as stored and as the audit records it."""
    return msgspec.json.encode(rule).decode()


def start_recompute(connection: Connection, rule: LabelAggregation) -> None:
    """Makes this the current rule and marks the resolved labels as outdated."""
    for row in (_CURRENT, _PENDING):
        connection.execute(_UPSERT_RULE, {"row": row, "rule": encode_rule(rule)})


def finish_recompute(connection: Connection) -> None:
    """Marks every resolved label as computed by the current rule."""
    connection.execute(label_aggregation.delete().where(label_aggregation.c.row == _PENDING))
