"""The prediction log: every answered prediction, newest first, with its input where inputs are logged.

    journal ─ ship(file, up_to, predictions) ─► one transaction: new rows + the position in the journal file
                                                 inputs ≤ 16 KiB in the row, larger ones in Blobs
    window(filters, cursor) ─► Page              ids sort by time, so a page is a range of ids and costs the same at any depth

Time filters compare ids, which contain the millisecond: `since` is included, `until` is not, so adjacent windows do not overlap.
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
_IDS_PER_QUERY = 1000
#: Both databases accept this statement, while SQLAlchemy needs a dialect-specific construct.
_ADVANCE = text(
    "INSERT INTO spool_positions (file, position) VALUES (:file, :position) "
    "ON CONFLICT (file) DO UPDATE SET position = excluded.position WHERE spool_positions.position < excluded.position"
)

_HAS_INPUT = or_(predictions.c.input.is_not(None), predictions.c.input_sha256.is_not(None)).label("input_kept")
_COLUMNS = (*(column for column in predictions.c if column.name not in {"input", "input_key", "truth", "disputed"}), _HAS_INPUT)
_INPUT_COLUMNS = select(
    predictions.c.id, predictions.c.kind, predictions.c.input, predictions.c.input_sha256, predictions.c.input_key
)
#: Columns filled from the journals; the others are computed from the labels.
_INSERTED = [column.name for column in predictions.c if column.name not in {"truth", "disputed"}]
_SHA256_INDEX = _INSERTED.index("input_sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrediction:
    """A prediction as stored. `prediction.input` is None; `PredictionStore.input` loads the bytes."""

    prediction: PredictionRecord
    input_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInput:
    """The input of a prediction."""

    prediction: bytes  # id
    kind: InputKind
    data: bytes | None  # None when it was not stored, or cannot be decrypted


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of predictions, newest first, and the cursor of the next."""

    items: list[StoredPrediction]
    next_cursor: str | None  # opaque; None on the last page


class PredictionStore:
    """Predictions. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError.

    blobs: stores inputs above 16 KiB; without it they stay in the rows. encryption: decrypts inputs.
    """

    def __init__(self, engine: Engine, blobs: Blobs | None = None, encryption: InputEncryption | None = None) -> None:
        self._engine = engine
        self._blobs = blobs
        self._encryption = encryption

    def insert(self, records: Sequence[PredictionRecord]) -> int:
        """Inserts these predictions, skipping existing ones. Returns the number of new ones."""
        rows = self._to_rows(records)
        with write_transaction(self._engine) as connection:
            return self._insert_living(connection, rows, records)

    def insert_from_journal(self, file: str, up_to: int, records: Sequence[PredictionRecord]) -> int:
        """Inserts these predictions and stores, in the same transaction, how far the journal file was read.

        A position never decreases. Returns the number of new predictions.
        """
        rows = self._to_rows(records)
        with write_transaction(self._engine) as connection:
            inserted = self._insert_living(connection, rows, records)
            connection.execute(_ADVANCE, {"file": file, "position": up_to})
        return inserted

    def positions(self) -> dict[str, int]:
        """Returns how far each journal file was read."""
        with read_transaction(self._engine) as connection:
            return {row.file: row.position for row in connection.execute(select(spool_positions))}

    def missing(self, records: Sequence[PredictionRecord]) -> int:
        """Returns how many of these are not stored, not counting those whose subject was erased."""
        with read_transaction(self._engine) as connection:
            existing = _existing_ids(connection, [record.id for record in records])
            absent = [record for record in records if record.id not in existing]
            return len(drop_erased(connection, absent)) if absent else 0

    def forget_file(self, file: str) -> None:
        """Deletes the position of a journal file that no longer exists."""
        with write_transaction(self._engine) as connection:
            connection.execute(spool_positions.delete().where(spool_positions.c.file == file))

    def page(self, *, cursor: str | None = None, limit: int = 50, **filters: Unpack[Filters]) -> Page:
        """Returns a page of predictions, newest first.

        cursor: `next_cursor` of the previous page. limit: 1 to 1000. Raises FieldTypeError, FieldRangeError for these two.
        """
        if not 1 <= limit <= MOST_ITEMS:
            raise FieldRangeError(field="limit", minimum=1, maximum=MOST_ITEMS)
        before = None if cursor is None else _decode_id(cursor)
        with read_transaction(self._engine) as connection:
            ids = newest_ids(connection, filters, before=before, limit=limit + 1)
            query = select(*_COLUMNS).where(predictions.c.id.in_(ids)).order_by(predictions.c.id.desc())
            rows = connection.execute(query).all()
        items = [_from_row(row) for row in rows[:limit]]
        return Page(items=items, next_cursor=_encode_id(items[-1].prediction.id) if len(rows) > limit else None)

    def count(self, **filters: Unpack[Filters]) -> int:
        """Returns how many predictions match the filters."""
        query = select(func.count()).select_from(predictions).where(*conditions(filters))
        with read_transaction(self._engine) as connection:
            return connection.scalar(query) or 0

    def get(self, prediction: bytes) -> StoredPrediction:
        """Returns one prediction by id. Raises PredictionNotFoundError."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(select(*_COLUMNS).where(predictions.c.id == prediction)).first()
        if row is None:
            raise PredictionNotFoundError
        return _from_row(row)

    def input(self, prediction: bytes) -> tuple[InputKind, bytes]:
        """Returns the input, byte for byte. Raises PredictionNotFoundError, InputNotStoredError, InputUndecryptableError."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(_INPUT_COLUMNS.where(predictions.c.id == prediction)).first()
        if row is None:
            raise PredictionNotFoundError
        return InputKind(row.kind), self._load_input(row)

    def inputs(self, ids: Sequence[bytes]) -> Iterator[StoredInput]:
        """Yields the inputs of some hundred existing predictions, with one query; large ones are read file by file."""
        with read_transaction(self._engine) as connection:
            rows = connection.execute(_INPUT_COLUMNS.where(predictions.c.id.in_(ids))).all()
        for row in rows:
            try:
                data = self._load_input(row)
            except (InputNotStoredError, InputUndecryptableError):
                data = None
            yield StoredInput(prediction=bytes(row.id), kind=InputKind(row.kind), data=data)

    def _load_input(self, row: Any) -> bytes:
        data = self._load_bytes(row)
        if row.input_key is None:
            return data
        if self._encryption is None:
            raise InputUndecryptableError
        return self._encryption.decrypt(bytes(row.id), row.input_key, data)

    def _load_bytes(self, row: Any) -> bytes:
        if row.input is not None:
            return bytes(row.input)
        if row.input_sha256 is None or self._blobs is None:
            raise InputNotStoredError
        return self._blobs.get(row.input_sha256)

    def _insert_living(self, connection: Connection, rows: list[tuple[object, ...]], records: Sequence[PredictionRecord]) -> int:
        if all(record.subject is None for record in records):
            return _insert_new(connection, rows, records)
        living_ids = {record.id for record in drop_erased(connection, records)}
        if self._blobs is not None:
            # They were written before the erasure of their subject was known.
            remove_blobs(
                connection,
                {str(row[_SHA256_INDEX]) for row in rows if row[0] not in living_ids and row[_SHA256_INDEX]},
                self._blobs,
            )
        living_rows = [row for row in rows if row[0] in living_ids]
        return _insert_new(connection, living_rows, [record for record in records if record.id in living_ids])

    def _to_rows(self, records: Sequence[PredictionRecord]) -> list[tuple[object, ...]]:
        """Returns the rows of these predictions. Large inputs are on disk before a row may refer to them."""
        large_inputs = (
            {}
            if self._blobs is None
            else {record.id: record.input for record in records if record.input and len(record.input) > INLINE_BYTES}
        )
        names = self._blobs.put_all(list(large_inputs.values())) if self._blobs and large_inputs else []
        blobs = dict(zip(large_inputs, names, strict=True))
        return [_to_row(record, blobs.get(record.id)) for record in records]


def _to_row(record: PredictionRecord, blob: str | None) -> tuple[object, ...]:
    """Returns the columns in the table's order. blob: SHA-256 of an input stored as a file."""
    return (
        record.id,
        record.at_us,
        record.model,
        record.version,
        record.arm.value,
        record.propensity,
        record.epoch,
        record.kind.value,
        _storable(record.predicted_label),
        record.confidence,
        record.uncertain,
        record.value,
        record.scores,
        record.latency_us,
        record.error,
        _storable(record.subject),
        record.input_bytes,
        blob,
        record.input if blob is None else None,
        record.key,
        _storable(record.requested_by),
    )


def _storable(value: str | None) -> str | None:
    return None if value is None else strip_unstorable(value)


def _insert_new(connection: Connection, rows: list[tuple[object, ...]], records: Sequence[PredictionRecord]) -> int:
    """Inserts rows that do not exist yet and counts them as traffic. Returns their number. rows: of `records`, in order."""
    with connection.begin_nested() as savepoint:
        inserted = _insert(connection, rows)
        if inserted == len(rows):
            traffic.count(connection, records)
            return inserted
        # The databases do not report which rows were new, so in this rare case the existing ids are queried first.
        savepoint.rollback()
    existing = _existing_ids(connection, [record.id for record in records])
    new = {record.id: (row, record) for row, record in zip(rows, records, strict=True) if record.id not in existing}
    traffic.count(connection, [record for _, record in new.values()])
    return _insert(connection, [row for row, _ in new.values()])


def _existing_ids(connection: Connection, ids: list[bytes]) -> set[bytes]:
    existing: set[bytes] = set()
    for start in range(0, len(ids), _IDS_PER_QUERY):
        query = select(predictions.c.id).where(predictions.c.id.in_(ids[start : start + _IDS_PER_QUERY]))
        existing.update(bytes(row.id) for row in connection.execute(query))
    return existing


def _insert(connection: Connection, rows: list[tuple[object, ...]]) -> int:
    """Inserts rows that do not exist yet. Returns their number.

    The statement goes to the driver directly: SQLAlchemy's parameter processing takes longer than the database itself.
    """
    if not rows:
        return 0
    placeholder = "%s" if connection.dialect.name == "postgresql" else "?"
    columns = ", ".join(_INSERTED)
    placeholders = ", ".join([placeholder] * len(_INSERTED))
    statement = f"INSERT INTO predictions ({columns}) VALUES ({placeholders}) ON CONFLICT DO NOTHING"  # noqa: S608 - our own column names
    return connection.exec_driver_sql(statement, rows).rowcount


def _encode_id(prediction: bytes) -> str:
    return base64.urlsafe_b64encode(prediction).decode().rstrip("=")


def _decode_id(cursor: str) -> bytes:
    try:
        prediction = base64.b64decode(cursor + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        prediction = b""
    if len(prediction) != _ID_BYTES:
        raise FieldTypeError(field="cursor", expected="the next_cursor of an earlier page", got="something else")
    return prediction


def _from_row(row: Row[Any]) -> StoredPrediction:
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
            predicted_label=row.label,
            confidence=row.confidence,
            uncertain=row.uncertain,
            value=row.value,
            scores=bytes(row.scores),
            latency_us=row.latency_us,
            error=row.error,
            subject=row.subject,
            requested_by=row.requested_by,
        ),
        input_kept=bool(row.input_kept),
    )
