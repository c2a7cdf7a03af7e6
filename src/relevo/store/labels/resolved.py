"""Which label counts for a prediction, written beside it whenever that may have changed, so that the history narrows by it.

    labels ⨝ last judgement of each ─► rule in force ─► predictions.truth, predictions.disputed

All of it works within the caller's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row, func, select, text, union

from relevo.domain.label_aggregation import LabelAggregation, is_disputed
from relevo.domain.prediction import Label, ReviewStatus
from relevo.store.db.tables import judgements, label_rule, labels, predictions
from relevo.util.timestamps import from_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from relevo.store.labels.notes import Notes

_IN_FORCE, _UNDER_WAY = 1, 2
_SET = text('INSERT INTO label_rule ("row", rule) VALUES (:row, :rule) ON CONFLICT ("row") DO UPDATE SET rule = excluded.rule')


def labels_of(connection: Connection, some: Sequence[bytes], notes: Notes | None = None) -> dict[bytes, list[Label]]:
    """Every label of these predictions, in the order they were given, each with the last verdict on it.

    notes: what opens their notes; without it they are empty.
    """
    wanted = select(labels.c.serial).where(labels.c.prediction.in_(some))
    newest = select(func.max(judgements.c.serial)).where(judgements.c.label.in_(wanted)).group_by(judgements.c.label)
    verdicts = select(judgements.c.label, judgements.c.verdict).where(judgements.c.serial.in_(newest))
    judged = {row.label: ReviewStatus(row.verdict) for row in connection.execute(verdicts)}
    found: dict[bytes, list[Label]] = {}
    for row in connection.execute(select(labels).where(labels.c.prediction.in_(some)).order_by(labels.c.serial)):
        note = "" if notes is None else notes.of(connection, row)
        label = label_of(row, judged.get(row.serial, ReviewStatus.PENDING), note)
        found.setdefault(label.prediction, []).append(label)
    return found


def label_of(row: Row[Any], verdict: ReviewStatus, note: str) -> Label:
    """A label out of its row."""
    return Label(
        prediction=bytes(row.prediction),
        value=row.value,
        author=row.author,
        source=row.source,
        at=from_us(row.at_us),
        note=note,
        serial=row.serial,
        verdict=verdict,
    )


def find_anew(connection: Connection, some: Sequence[bytes]) -> None:
    """Write what counts for these predictions beside them."""
    rule = rule_of(connection)
    given = labels_of(connection, some)
    for prediction in some:
        several = given.get(prediction, [])
        label = rule.of(several)
        values = {"truth": None if label is None else label.value, "disputed": is_disputed(several)}
        connection.execute(predictions.update().where(predictions.c.id == prediction).values(values))


def labelled(connection: Connection, model: str, after: bytes, limit: int) -> list[bytes]:
    """Ids of predictions of a model that have a truth or a dispute about it, ascending, beyond `after`."""
    mine = (predictions.c.model == model, predictions.c.id > after)
    kinds = (predictions.c.truth.is_not(None), predictions.c.disputed.is_(True))
    parts = [select(predictions.c.id).where(*mine, kind).order_by(predictions.c.id).limit(limit).subquery() for kind in kinds]
    every = union(*(select(part) for part in parts)).subquery()
    return [bytes(row.id) for row in connection.execute(select(every.c.id).order_by(every.c.id).limit(limit))]


def state(connection: Connection) -> str:
    """A word that changes with every label, judgement, erasure and rule."""
    given = connection.execute(select(func.count(), func.max(labels.c.serial))).one()
    judged = connection.scalar(select(func.max(judgements.c.serial)))
    return f"{given[0]} {given[1]} {judged} {words(rule_of(connection))}"


def rule_of(connection: Connection) -> LabelAggregation:
    """The rule in force; the last label counts where none was ever set."""
    found = connection.scalar(select(label_rule.c.rule).where(label_rule.c.row == _IN_FORCE))
    return LabelAggregation() if found is None else msgspec.json.decode(found, type=LabelAggregation)


def is_whole(connection: Connection) -> bool:
    """Whether every truth was found by the rule in force."""
    return connection.scalar(select(label_rule.c.row).where(label_rule.c.row == _UNDER_WAY)) is None


def words(rule: LabelAggregation) -> str:
    """The rule as its row holds it, and as the audit tells it."""
    return msgspec.json.encode(rule).decode()


def begin(connection: Connection, rule: LabelAggregation) -> None:
    """From now on this rule is in force, and truths found before are to be found anew."""
    for row in (_IN_FORCE, _UNDER_WAY):
        connection.execute(_SET, {"row": row, "rule": words(rule)})


def end(connection: Connection) -> None:
    """Every truth is found by the rule in force."""
    connection.execute(label_rule.delete().where(label_rule.c.row == _UNDER_WAY))
