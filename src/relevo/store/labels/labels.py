"""The truth about predictions, as their authors gave it. Append-only: corrections and judgements are further rows.

    put, judge ─► one transaction: the row, a link of the audit, and the prediction's truth found anew by the rule in force
    settle(rule) ─► another rule: every truth is found anew, some at a time; the loop calls it at its start

The rule stands in the store, so that every process finds the same truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from sqlalchemy import and_, select

from relevo.domain import ids
from relevo.domain.audit import LOCAL_ACTOR, Actor, AuditEvent
from relevo.errors import LabelNotFoundError
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import asks, judgements, labels, predictions
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

#: Ids asked for in one statement, and labels kept in one transaction.
_AT_ONCE = 500


class Labels:
    """Labels by prediction; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog, notes: Notes | None = None) -> None:
        """notes: what seals and opens what people write; without, notes stand as they came."""
        self._engine = engine
        self._audit = audit
        self._notes = notes or Notes(engine)

    def put(self, label: Label, *, by: Actor = LOCAL_ACTOR, user: str | None = None) -> Label:
        """Keep a label; what its author said last is not kept twice. Gives the label as it is kept, with its number.

        user: id of whoever gives it, whose queue no longer asks for it. Its prediction may not have been shipped yet; whoever must
        know looks there first.
        """
        row = self._row(label)
        with write_transaction(self._engine) as connection:
            if user is not None:
                mine = and_(asks.c.prediction == label.prediction, asks.c.user_id == user)
                connection.execute(asks.update().where(mine).values(answered_us=to_us(label.at)))
            # Race: the same person twice at once. SQLite has one writer, PostgreSQL lets the second wait for the prediction's row.
            connection.execute(select(predictions.c.id).where(predictions.c.id == label.prediction).with_for_update())
            before = self._last_word(connection, label)
            if before is not None and _says_the_same(before, label):
                return before
            connection.execute(labels.insert(), [row])
            resolved.find_anew(connection, [label.prediction])
            self._tell(connection, [label], by)
            kept = self._last_word(connection, label)
        assert kept is not None  # noqa: S101 - narrows: it was added above, in the same transaction
        return kept

    def put_many(self, some: Sequence[Label], *, by: Actor = LOCAL_ACTOR) -> None:
        """Keep many labels, in transactions of some hundred: what was kept when it fails stays kept."""
        for start in range(0, len(some), _AT_ONCE):
            batch = some[start : start + _AT_ONCE]
            rows = [self._row(label) for label in batch]
            with write_transaction(self._engine) as connection:
                connection.execute(labels.insert(), rows)
                resolved.find_anew(connection, list({label.prediction for label in batch}))
                self._tell(connection, batch, by)

    def _tell(self, connection: Connection, some: Sequence[Label], by: Actor) -> None:
        self._audit.append_all(connection, [(self._given(label, by), label.at) for label in some])

    def _given(self, label: Label, by: Actor) -> AuditEvent:
        given = self._audit.mark([label.value, label.author, label.source, label.note])
        return AuditEvent(by=by, action="label.give", object=_thing(label.prediction), after=given)

    def judge(
        self,
        prediction: bytes,
        serial: int,
        verdict: ReviewStatus,
        *,
        judge: str,
        at: datetime,
        reason: str = "",
        by: Actor = LOCAL_ACTOR,
    ) -> None:
        """Accept or reject one label of a prediction. Raises LabelNotFoundError."""
        told = self._notes.reason_columns(reason, prediction, serial)
        with write_transaction(self._engine) as connection:
            before = next(
                (label for label in resolved.labels_of(connection, [prediction]).get(prediction, []) if label.serial == serial),
                None,
            )
            if before is None:
                raise LabelNotFoundError
            row = {"label": serial, "verdict": verdict.value, "judge": strip_unstorable(judge)}
            connection.execute(judgements.insert().values(**row, **told, at_us=to_us(at)))
            thing = f"{_thing(prediction)}/label:{serial}"
            # The reason may speak of a person; it stays with the judgement, which can be erased.
            act = AuditEvent(by=by, action="label.judge", object=thing, before=before.verdict.value, after=verdict.value)
            resolved.find_anew(connection, [prediction])
            self._audit.append(connection, act, at=at)

    def of(self, prediction: bytes) -> list[Label]:
        """Every label of a prediction, in the order they were given."""
        with read_transaction(self._engine) as connection:
            return resolved.labels_of(connection, [prediction], self._notes).get(prediction, [])

    def current(self, prediction: bytes) -> Label | None:
        """The label that counts, or None."""
        return self.current_many([prediction]).get(prediction)

    def current_many(self, predictions: Iterable[bytes]) -> dict[bytes, Label]:
        """The label that counts for each of these predictions that has one."""
        asked = list(predictions)
        found: dict[bytes, Label] = {}
        with read_transaction(self._engine) as connection:
            rule = resolved.rule_of(connection)
            for start in range(0, len(asked), _AT_ONCE):
                given = resolved.labels_of(connection, asked[start : start + _AT_ONCE], self._notes)
                found |= {prediction: label for prediction, several in given.items() if (label := rule.of(several))}
        return found

    def given(self, *, cursor: int | None = None, limit: int = 50, **filters: Unpack[LabelFilters]) -> LabelPage:
        """A page of all labels, newest first, also of those that no longer count."""
        return list_labels(self._engine, self._notes, cursor=cursor, limit=limit, **filters)

    def labelled(self, model: str) -> Iterator[dict[bytes, list[Label]]]:
        """Every prediction of a model that somebody labelled, by id, some hundred at a time, each with all its labels."""
        last = b""
        while True:
            with read_transaction(self._engine) as connection:
                some = resolved.labelled(connection, model, last, _AT_ONCE)
                given = resolved.labels_of(connection, some, self._notes)
            if not some:
                return
            # Those without a label were erased meanwhile.
            yield {prediction: given[prediction] for prediction in some if prediction in given}
            last = some[-1]

    def state(self) -> str:
        """Changes with every label, judgement, erasure and rule."""
        with read_transaction(self._engine) as connection:
            return resolved.state(connection)

    def rule(self) -> LabelAggregation:
        """The rule in force."""
        with read_transaction(self._engine) as connection:
            return resolved.rule_of(connection)

    def settle(self, rule: LabelAggregation, *, at: datetime, by: Actor = LOCAL_ACTOR) -> int:
        """Find every truth by this rule from now on. Returns how many predictions were looked at: 0 when it is in force already.

        A crash on the way is made good by the next call.
        """
        with write_transaction(self._engine) as connection:
            before, whole = resolved.rule_of(connection), resolved.is_whole(connection)
            if whole and before == rule:
                return 0
            resolved.begin(connection, rule)
            if before != rule:
                act = AuditEvent(
                    by=by, action="label.rule", object="labels", before=resolved.words(before), after=resolved.words(rule)
                )
                self._audit.append(connection, act, at=at)
        done, last = 0, b""
        while some := self._find_some(last):
            done, last = done + len(some), some[-1]
        with write_transaction(self._engine) as connection:
            resolved.end(connection)
        return done

    def _find_some(self, after: bytes) -> list[bytes]:
        query = select(labels.c.prediction).where(labels.c.prediction > after).distinct().order_by(labels.c.prediction)
        with write_transaction(self._engine) as connection:
            some = [bytes(row.prediction) for row in connection.execute(query.limit(_AT_ONCE))]
            resolved.find_anew(connection, some)
        return some

    def _last_word(self, connection: Connection, label: Label) -> Label | None:
        """What this label's author said last of its prediction."""
        given = resolved.labels_of(connection, [label.prediction], self._notes).get(label.prediction, [])
        return next((it for it in reversed(given) if it.author == strip_unstorable(label.author)), None)

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


def _says_the_same(before: Label, label: Label) -> bool:
    return (before.value, before.note, before.source) == (
        strip_unstorable(label.value),
        strip_unstorable(label.note),
        strip_unstorable(label.source),
    )


def _thing(prediction: bytes) -> str:
    return f"prediction:{ids.text(prediction)}"
