"""Labels that people and systems give to predictions. Append-only: corrections and reviews are further rows.

    put, judge ─► one transaction: the row, an audit entry, and the prediction's resolved label recomputed by the current rule
    settle(rule) ─► a new rule: recomputes every resolved label in batches; the background process calls it at start

The aggregation rule is stored in the database, so that every process computes the same resolved label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from sqlalchemy import and_, select

from relevo.domain import ids
from relevo.domain.audit import LOCAL_ACTOR, Actor, AuditEvent
from relevo.errors import LabelNotFoundError
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import label_queue, label_reviews, labels, predictions
from relevo.store.db.text import strip_unstorable
from relevo.store.labels import resolved
from relevo.store.labels.list import LabelFilters, LabelPage, list_labels
from relevo.store.labels.notes import Notes
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from relevo.domain.label_aggregation import LabelAggregation
    from relevo.domain.prediction import Label, ReviewStatus
    from relevo.store.audit.log import AuditLog

#: Ids in one query, and labels inserted in one transaction.
_BATCH_SIZE = 500


class Labels:
    """Labels by prediction. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog, notes: Notes | None = None) -> None:
        """notes: encrypts and decrypts notes; without it they are stored as they are."""
        self._engine = engine
        self._audit = audit
        self._notes = notes or Notes(engine)

    def put(self, label: Label, *, by: Actor = LOCAL_ACTOR, user: str | None = None) -> Label:
        """Stores a label and returns it with its serial. If its author's last label is equal, returns that one and stores nothing.

        user: id of the author, whose queue item it completes. The prediction may not have been shipped yet; a caller that needs it
        checks first.
        """
        row = self._row(label)
        with write_transaction(self._engine) as connection:
            if user is not None:
                queue_item = and_(label_queue.c.prediction == label.prediction, label_queue.c.user_id == user)
                connection.execute(label_queue.update().where(queue_item).values(answered_us=to_us(label.at)))
            # Race: the same person may send it twice. SQLite has one writer; on PostgreSQL the second waits for the prediction's row.
            connection.execute(select(predictions.c.id).where(predictions.c.id == label.prediction).with_for_update())
            before = self._last_label(connection, label)
            if before is not None and _is_equal(before, label):
                return before
            connection.execute(labels.insert(), [row])
            resolved.recompute(connection, [label.prediction])
            self._audit_labels(connection, [label], by)
            stored = self._last_label(connection, label)
        assert stored is not None  # noqa: S101 - narrows: it was inserted above, in the same transaction
        return stored

    def put_many(self, items: Sequence[Label], *, by: Actor = LOCAL_ACTOR) -> None:
        """Stores many labels, some hundred in a transaction; after an error the committed batches remain."""
        for start in range(0, len(items), _BATCH_SIZE):
            batch = items[start : start + _BATCH_SIZE]
            rows = [self._row(label) for label in batch]
            with write_transaction(self._engine) as connection:
                connection.execute(labels.insert(), rows)
                resolved.recompute(connection, list({label.prediction for label in batch}))
                self._audit_labels(connection, batch, by)

    def _audit_labels(self, connection: Connection, items: Sequence[Label], by: Actor) -> None:
        self._audit.append_all(connection, [(self._label_event(label, by), label.at) for label in items])

    def _label_event(self, label: Label, by: Actor) -> AuditEvent:
        signature = self._audit.pseudonymize([label.value, label.author, label.source, label.note])
        return AuditEvent(by=by, action="label.give", object=_object_name(label.prediction), after=signature)

    def review(
        self,
        prediction: bytes,
        serial: int,
        verdict: ReviewStatus,
        *,
        reviewer: str,
        at: datetime,
        reason: str = "",
        by: Actor = LOCAL_ACTOR,
    ) -> None:
        """Accepts or rejects one label of a prediction. Raises LabelNotFoundError."""
        reason_columns = self._notes.reason_columns(reason, prediction, serial)
        with write_transaction(self._engine) as connection:
            before = next(
                (label for label in resolved.labels_of(connection, [prediction]).get(prediction, []) if label.serial == serial),
                None,
            )
            if before is None:
                raise LabelNotFoundError
            row = {"label": serial, "verdict": verdict.value, "judge": strip_unstorable(reviewer)}
            connection.execute(label_reviews.insert().values(**row, **reason_columns, at_us=to_us(at)))
            object_name = f"{_object_name(prediction)}/label:{serial}"
            # The reason may contain personal data; it is stored with the review only, which can be erased.
            event = AuditEvent(by=by, action="label.judge", object=object_name, before=before.review.value, after=verdict.value)
            resolved.recompute(connection, [prediction])
            self._audit.append(connection, event, at=at)

    def for_prediction(self, prediction: bytes) -> list[Label]:
        """Returns every label of a prediction, oldest first."""
        with read_transaction(self._engine) as connection:
            return resolved.labels_of(connection, [prediction], self._notes).get(prediction, [])

    def resolved(self, prediction: bytes) -> Label | None:
        """Returns the resolved label, or None."""
        return self.resolved_many([prediction]).get(prediction)

    def resolved_many(self, predictions: Iterable[bytes]) -> dict[bytes, Label]:
        """Returns the resolved label of each of these predictions that has one."""
        ids = list(predictions)
        result: dict[bytes, Label] = {}
        with read_transaction(self._engine) as connection:
            rule = resolved.rule_of(connection)
            for start in range(0, len(ids), _BATCH_SIZE):
                batch = resolved.labels_of(connection, ids[start : start + _BATCH_SIZE], self._notes)
                result |= {prediction: label for prediction, candidates in batch.items() if (label := rule.resolve(candidates))}
        return result

    def page(self, *, cursor: int | None = None, limit: int = 50, **filters: Unpack[LabelFilters]) -> LabelPage:
        """Returns a page of all labels, newest first, including those that the rule does not select."""
        return list_labels(self._engine, self._notes, cursor=cursor, limit=limit, **filters)

    def labelled(self, model: str) -> Iterator[dict[bytes, list[Label]]]:
        """Yields every labelled prediction of a model, by id, in batches, each with all its labels."""
        last_id = b""
        while True:
            with read_transaction(self._engine) as connection:
                ids = resolved.labelled_ids(connection, model, last_id, _BATCH_SIZE)
                labels_by_id = resolved.labels_of(connection, ids, self._notes)
            if not ids:
                return
            # An id without labels was erased meanwhile.
            yield {prediction: labels_by_id[prediction] for prediction in ids if prediction in labels_by_id}
            last_id = ids[-1]

    def fingerprint(self) -> str:
        """Returns a fingerprint of all labels; it changes whenever a label, review, erasure or the rule changes."""
        with read_transaction(self._engine) as connection:
            return resolved.fingerprint(connection)

    def aggregation(self) -> LabelAggregation:
        """Returns the current aggregation rule."""
        with read_transaction(self._engine) as connection:
            return resolved.rule_of(connection)

    def apply_aggregation(self, rule: LabelAggregation, *, at: datetime, by: Actor = LOCAL_ACTOR) -> int:
        """Makes this the aggregation rule and recomputes every resolved label. Returns the number of predictions; 0 if nothing changed.

        After a crash the next call finishes the work.
        """
        with write_transaction(self._engine) as connection:
            before, complete = resolved.rule_of(connection), resolved.is_recomputed(connection)
            if complete and before == rule:
                return 0
            resolved.start_recompute(connection, rule)
            if before != rule:
                event = AuditEvent(
                    by=by,
                    action="label.rule",
                    object="labels",
                    before=resolved.encode_rule(before),
                    after=resolved.encode_rule(rule),
                )
                self._audit.append(connection, event, at=at)
        count, last_id = 0, b""
        while batch := self._recompute_batch(last_id):
            count, last_id = count + len(batch), batch[-1]
        with write_transaction(self._engine) as connection:
            resolved.finish_recompute(connection)
        return count

    def _recompute_batch(self, after: bytes) -> list[bytes]:
        query = select(labels.c.prediction).where(labels.c.prediction > after).distinct().order_by(labels.c.prediction)
        with write_transaction(self._engine) as connection:
            batch = [bytes(row.prediction) for row in connection.execute(query.limit(_BATCH_SIZE))]
            resolved.recompute(connection, batch)
        return batch

    def _last_label(self, connection: Connection, label: Label) -> Label | None:
        """Returns the last label of this prediction by the same author."""
        candidates = resolved.labels_of(connection, [label.prediction], self._notes).get(label.prediction, [])
        return next((candidate for candidate in reversed(candidates) if candidate.author == strip_unstorable(label.author)), None)

    def _row(self, label: Label) -> dict[str, object]:
        at_us = to_us(label.at)
        return {
            "prediction": label.prediction,
            "value": strip_unstorable(label.value),
            "author": strip_unstorable(label.author),
            "source": strip_unstorable(label.source),
            "at_us": at_us,
            **self._notes.columns(label, at_us),
        }


def _is_equal(before: Label, label: Label) -> bool:
    return (before.value, before.note, before.source) == (
        strip_unstorable(label.value),
        strip_unstorable(label.note),
        strip_unstorable(label.source),
    )


def _object_name(prediction: bytes) -> str:
    return f"prediction:{ids.text(prediction)}"
