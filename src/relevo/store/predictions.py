"""Every prediction that was answered, newest first, with its input where that was kept.

    journal ─ ship(file, up_to, predictions) ─► one transaction: rows not yet there + how far the file was read
                                                 input ≤ 16 KiB in the row, larger ones among the blobs
    window(filters, cursor) ─► Page (narrowing)  ids sort by time, so a page is a range of ids and costs the same at any depth

Times narrow by id, which holds the millisecond: `since` is included, `until` is not, windows that touch share nothing.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from sqlalchemy import func, or_, select, text

from relevo.domain.prediction import Arm, InputKind, PredictionRecord
from relevo.errors import FieldRangeError, FieldTypeError, InputNotStoredError, InputUndecryptableError, PredictionNotFoundError
from relevo.store import traffic
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import predictions, spool_positions
from relevo.store.db.text import strip_unstorable
from relevo.store.erasure import drop_erased, remove_blobs
from relevo.store.prediction_filters import Filters, conditions, newest_ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine, Row

    from relevo.store.encryption import InputEncryption
    from relevo.store.files.blobs import Blobs

INLINE_BYTES = 16 * 1024
MOST_ITEMS = 1000
_ID_BYTES = 16
_IDS_A_QUESTION = 1000
#: Both databases read it alike, while SQLAlchemy has a construct for each.
_ADVANCE = text(
    "INSERT INTO spool_positions (file, position) VALUES (:file, :position) "
    "ON CONFLICT (file) DO UPDATE SET position = excluded.position WHERE spool_positions.position < excluded.position"
)

_KEPT = or_(predictions.c.input.is_not(None), predictions.c.input_sha256.is_not(None)).label("input_kept")
_NARROW = (*(column for column in predictions.c if column.name not in {"input", "input_key", "truth", "disputed"}), _KEPT)
_SENT_IN = select(predictions.c.id, predictions.c.kind, predictions.c.input, predictions.c.input_sha256, predictions.c.input_key)
#: What comes from the journals; the rest is found here.
_SENT = [column.name for column in predictions.c if column.name not in {"truth", "disputed"}]
_SHA256 = _SENT.index("input_sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrediction:
    """A prediction as the store has it. `prediction.input` is None here; `History.input` fetches the bytes."""

    prediction: PredictionRecord
    input_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInput:
    """What was sent in."""

    prediction: bytes  # id
    kind: InputKind
    data: bytes | None  # None when it was not kept, or cannot be opened any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some predictions, newest first, and where the next older ones begin."""

    items: list[StoredPrediction]
    next_cursor: str | None  # opaque; None on the last page


class PredictionStore:
    """Predictions; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError.

    blobs: where inputs above 16 KiB go; without it they stay in the rows. sealing: opens sealed ones.
    """

    def __init__(self, engine: Engine, blobs: Blobs | None = None, sealing: InputEncryption | None = None) -> None:
        self._engine = engine
        self._blobs = blobs
        self._sealing = sealing

    def record(self, some: Sequence[PredictionRecord]) -> int:
        """Keep these predictions, those already there excepted. Returns how many are new."""
        rows = self._rows(some)
        with write_transaction(self._engine) as connection:
            return self._keep(connection, rows, some)

    def ship(self, file: str, up_to: int, some: Sequence[PredictionRecord]) -> int:
        """Keep these predictions and note, in the same transaction, that the journal file was read up to there.

        A position never goes back. Returns how many predictions are new.
        """
        rows = self._rows(some)
        with write_transaction(self._engine) as connection:
            fresh = self._keep(connection, rows, some)
            connection.execute(_ADVANCE, {"file": file, "position": up_to})
        return fresh

    def positions(self) -> dict[str, int]:
        """How far each journal file was read."""
        with read_transaction(self._engine) as connection:
            return {row.file: row.position for row in connection.execute(select(spool_positions))}

    def missing(self, some: Sequence[PredictionRecord]) -> int:
        """How many of these are not there, those whose subject was erased excepted."""
        with read_transaction(self._engine) as connection:
            known = _known(connection, [it.id for it in some])
            absent = [it for it in some if it.id not in known]
            return len(drop_erased(connection, absent)) if absent else 0

    def forget(self, file: str) -> None:
        """Drop the position of a journal file that is no more."""
        with write_transaction(self._engine) as connection:
            connection.execute(spool_positions.delete().where(spool_positions.c.file == file))

    def window(self, *, cursor: str | None = None, limit: int = 50, **filters: Unpack[Filters]) -> Page:
        """A page of predictions, newest first.

        cursor: `next_cursor` of the page before. limit: 1 to 1000. Raises FieldTypeError, FieldRangeError for those two.
        """
        if not 1 <= limit <= MOST_ITEMS:
            raise FieldRangeError(field="limit", minimum=1, maximum=MOST_ITEMS)
        before = None if cursor is None else _id_of(cursor)
        with read_transaction(self._engine) as connection:
            ids = newest_ids(connection, filters, before=before, limit=limit + 1)
            query = select(*_NARROW).where(predictions.c.id.in_(ids)).order_by(predictions.c.id.desc())
            rows = connection.execute(query).all()
        items = [_stored(row) for row in rows[:limit]]
        return Page(items=items, next_cursor=_cursor_after(items[-1].prediction.id) if len(rows) > limit else None)

    def count(self, **filters: Unpack[Filters]) -> int:
        """How many predictions the same filters leave."""
        query = select(func.count()).select_from(predictions).where(*conditions(filters))
        with read_transaction(self._engine) as connection:
            return connection.scalar(query) or 0

    def get(self, prediction: bytes) -> StoredPrediction:
        """One prediction by id. Raises PredictionNotFoundError."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(select(*_NARROW).where(predictions.c.id == prediction)).first()
        if row is None:
            raise PredictionNotFoundError
        return _stored(row)

    def input(self, prediction: bytes) -> tuple[InputKind, bytes]:
        """What was sent in, byte for byte. Raises PredictionNotFoundError, InputNotStoredError, InputUndecryptableError."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(_SENT_IN.where(predictions.c.id == prediction)).first()
        if row is None:
            raise PredictionNotFoundError
        return InputKind(row.kind), self._opened(row)

    def inputs(self, some: Sequence[bytes]) -> Iterator[StoredInput]:
        """What was sent in for some hundred predictions that are there, in one question; large ones are read one by one."""
        with read_transaction(self._engine) as connection:
            rows = connection.execute(_SENT_IN.where(predictions.c.id.in_(some))).all()
        for row in rows:
            try:
                data = self._opened(row)
            except (InputNotStoredError, InputUndecryptableError):
                data = None
            yield StoredInput(prediction=bytes(row.id), kind=InputKind(row.kind), data=data)

    def _opened(self, row: Any) -> bytes:
        data = self._bytes_of(row)
        if row.input_key is None:
            return data
        if self._sealing is None:
            raise InputUndecryptableError
        return self._sealing.open(bytes(row.id), row.input_key, data)

    def _bytes_of(self, row: Any) -> bytes:
        if row.input is not None:
            return bytes(row.input)
        if row.input_sha256 is None or self._blobs is None:
            raise InputNotStoredError
        return self._blobs.get(row.input_sha256)

    def _keep(self, connection: Connection, rows: list[tuple[object, ...]], some: Sequence[PredictionRecord]) -> int:
        if all(it.subject is None for it in some):
            return _keep(connection, rows, some)
        living = {it.id for it in drop_erased(connection, some)}
        if self._blobs is not None:
            # Written before it was known that their subject was erased.
            remove_blobs(connection, {str(row[_SHA256]) for row in rows if row[0] not in living and row[_SHA256]}, self._blobs)
        kept = [row for row in rows if row[0] in living]
        return _keep(connection, kept, [it for it in some if it.id in living])

    def _rows(self, some: Sequence[PredictionRecord]) -> list[tuple[object, ...]]:
        """The rows of these predictions. Large inputs are on the disk before a row may point to them."""
        large = {} if self._blobs is None else {it.id: it.input for it in some if it.input and len(it.input) > INLINE_BYTES}
        names = self._blobs.put_all(list(large.values())) if self._blobs and large else []
        blobs = dict(zip(large, names, strict=True))
        return [_row(it, blobs.get(it.id)) for it in some]


def _row(it: PredictionRecord, blob: str | None) -> tuple[object, ...]:
    """The columns in the table's order. blob: name of the input, when it is kept apart."""
    return (
        it.id,
        it.at_us,
        it.model,
        it.version,
        it.arm.value,
        it.propensity,
        it.epoch,
        it.kind.value,
        _text(it.label),
        it.confidence,
        it.uncertain,
        it.value,
        it.scores,
        it.latency_us,
        it.error,
        _text(it.subject),
        it.input_bytes,
        blob,
        it.input if blob is None else None,
        it.key,
        _text(it.asked_by),
    )


def _text(it: str | None) -> str | None:
    return None if it is None else strip_unstorable(it)


def _keep(connection: Connection, rows: list[tuple[object, ...]], some: Sequence[PredictionRecord]) -> int:
    """Insert what is not yet there and count it as traffic; returns how many rows that were. rows: of `some`, in order."""
    with connection.begin_nested() as attempt:
        fresh = _insert(connection, rows)
        if fresh == len(rows):
            traffic.count(connection, some)
            return fresh
        # Which of them are new, the databases do not tell afterwards; so it is asked before, for this rare case alone.
        attempt.rollback()
    known = _known(connection, [it.id for it in some])
    new = {it.id: (row, it) for row, it in zip(rows, some, strict=True) if it.id not in known}
    traffic.count(connection, [it for _, it in new.values()])
    return _insert(connection, [row for row, _ in new.values()])


def _known(connection: Connection, ids: list[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for start in range(0, len(ids), _IDS_A_QUESTION):
        query = select(predictions.c.id).where(predictions.c.id.in_(ids[start : start + _IDS_A_QUESTION]))
        found.update(bytes(row.id) for row in connection.execute(query))
    return found


def _insert(connection: Connection, rows: list[tuple[object, ...]]) -> int:
    """Insert what is not yet there; returns how many rows that were.

    The statement goes to the driver as it is: SQLAlchemy's own way through each parameter takes longer than the database.
    """
    if not rows:
        return 0
    sign = "%s" if connection.dialect.name == "postgresql" else "?"
    names = ", ".join(_SENT)
    signs = ", ".join([sign] * len(_SENT))
    statement = f"INSERT INTO predictions ({names}) VALUES ({signs}) ON CONFLICT DO NOTHING"  # noqa: S608 - our own column names
    return connection.exec_driver_sql(statement, rows).rowcount


def _cursor_after(prediction: bytes) -> str:
    return base64.urlsafe_b64encode(prediction).decode().rstrip("=")


def _id_of(cursor: str) -> bytes:
    try:
        found = base64.b64decode(cursor + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != _ID_BYTES:
        raise FieldTypeError(field="cursor", expected="the next_cursor of an earlier page", got="something else")
    return found


def _stored(row: Row[Any]) -> StoredPrediction:
    return StoredPrediction(
        prediction=PredictionRecord(
            id=bytes(row.id),
            at_us=row.at_us,
            model=row.model,
            version=row.version,
            arm=Arm(row.arm),
            propensity=row.propensity,
            epoch=row.epoch,
            kind=InputKind(row.kind),
            input=None,
            input_bytes=row.input_bytes,
            label=row.label,
            confidence=row.confidence,
            uncertain=row.uncertain,
            value=row.value,
            scores=bytes(row.scores),
            latency_us=row.latency_us,
            error=row.error,
            subject=row.subject,
            asked_by=row.asked_by,
        ),
        input_kept=bool(row.input_kept),
    )
