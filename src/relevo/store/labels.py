"""The truth about predictions, as their authors gave it. Append-only: a correction is a further label, the last one counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from relevo.domain import ids
from relevo.domain.audit import HERE, Act, By
from relevo.domain.prediction import Label
from relevo.store._words import storable
from relevo.store.engine import reading, writing
from relevo.store.moments import microseconds, moment
from relevo.store.tables import labels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine, Row

    from relevo.store.audit import Audit

#: Ids asked for in one statement; SQLite's oldest limit is 999 parameters.
_AT_ONCE = 500


class Labels:
    """Labels by prediction; lives as long as the process, safe for several threads. All methods raise StoreUnavailable."""

    def __init__(self, engine: Engine, audit: Audit) -> None:
        self._engine = engine
        self._audit = audit

    def put(self, label: Label, *, by: By = HERE) -> None:
        """Keep a label. Its prediction may not have been shipped yet; whoever must know looks there first."""
        row = {
            "prediction": label.prediction,
            "value": storable(label.value),
            "author": storable(label.author),
            "source": storable(label.source),
            "at_us": microseconds(label.at),
            "note": storable(label.note),
        }
        with writing(self._engine) as connection:
            connection.execute(labels.insert().values(row))
            given = self._audit.mark([label.value, label.author, label.source, label.note])
            thing = f"prediction:{ids.text(label.prediction)}"
            self._audit.append(connection, Act(by=by, action="label.give", object=thing, after=given), at=label.at)

    def of(self, prediction: bytes) -> list[Label]:
        """Every label of a prediction, in the order they were given."""
        query = select(labels).where(labels.c.prediction == prediction).order_by(labels.c.serial)
        with reading(self._engine) as connection:
            return [_label(row) for row in connection.execute(query)]

    def current(self, prediction: bytes) -> Label | None:
        """The label that counts, or None."""
        return self.current_many([prediction]).get(prediction)

    def current_many(self, predictions: Iterable[bytes]) -> dict[bytes, Label]:
        """The label that counts for each of these predictions that has one."""
        asked = list(predictions)
        found: dict[bytes, Label] = {}
        with reading(self._engine) as connection:
            for start in range(0, len(asked), _AT_ONCE):
                some = asked[start : start + _AT_ONCE]
                newest = select(func.max(labels.c.serial)).where(labels.c.prediction.in_(some)).group_by(labels.c.prediction)
                for row in connection.execute(select(labels).where(labels.c.serial.in_(newest))):
                    label = _label(row)
                    found[label.prediction] = label
        return found


def _label(row: Row[Any]) -> Label:
    return Label(
        prediction=bytes(row.prediction),
        value=row.value,
        author=row.author,
        source=row.source,
        at=moment(row.at_us),
        note=row.note,
    )
