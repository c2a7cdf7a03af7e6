"""The label queue: whom it asked about what, and what it asks about next.

    GET /queue ─► slate(model, user) ─► still open asks of this person ─ enough? ─► as they are
                                        └ too few ─► newest predictions ─ uncertain, then disputed, then by lot ─► new asks, kept

An ask is open until somebody labels its prediction (of a disputed one: until the asked person does, or it is no longer disputed)
or the person skips it.
What one person is asked about, nobody else is for a while.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select, text

from relevo.domain.label_sampling import LOT_BYTES, LOT_FROM, QueueItem, SamplingReason, sampling_threshold
from relevo.domain.prediction import Arm
from relevo.errors import PredictionNotFoundError
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import asks, labels, predictions
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

#: How many of a model's newest predictions the queue looks through; who labels wants to hear of today.
NEWEST = 20_000
#: Among so many of them inputs are compared.
COMPARED = 2000
#: As long as one person is asked, nobody else is.
ALONE = timedelta(hours=1)
_SHARE = 0.1
_LOT = func.substr(predictions.c.id, LOT_FROM + 1, LOT_BYTES)
_TURN = case({SamplingReason.UNCERTAIN.value: 0, SamplingReason.DISAGREEMENT.value: 1}, value=asks.c.why, else_=2)


#: The same person may look twice at once.
_ASK = text(
    "INSERT INTO asks (prediction, model, user_id, why, propensity, at_us) "
    "VALUES (:prediction, :model, :user_id, :why, :propensity, :at_us) ON CONFLICT DO NOTHING"
)


class LabelQueue:
    """The label queue; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, *, share: float = _SHARE) -> None:
        """share: of the predictions that are neither uncertain nor disputed, 0..1."""
        self._engine = engine
        self._share = share

    def slate(self, model: str, user: str, limit: int, *, now: datetime) -> list[QueueItem]:
        """What this person is asked about next, at most `limit`: uncertain ones, disputed ones, then those drawn by lot."""
        with read_transaction(self._engine) as connection:
            found = _open(connection, model, user, limit)
        if len(found) == limit:
            return found
        with write_transaction(self._engine) as connection:
            for ask in self._new(connection, model, user, limit - len(found), now):
                row = {"prediction": ask.prediction, "model": model, "user_id": user, "why": ask.why.value}
                connection.execute(_ASK, row | {"propensity": ask.propensity, "at_us": to_us(now)})
            return _open(connection, model, user, limit)

    def skip(self, prediction: bytes, user: str, *, now: datetime) -> None:
        """Ask this person no more about it. Raises PredictionNotFoundError when they were never asked."""
        mine = and_(asks.c.prediction == prediction, asks.c.user_id == user)
        with write_transaction(self._engine) as connection:
            if not connection.execute(asks.update().where(mine).values(skipped_us=to_us(now))).rowcount:
                raise PredictionNotFoundError

    def asked(self, prediction: bytes, user: str, *, now: datetime) -> bool:
        """Whether this person is asked about it, or was within the last hour and may take back what they said."""
        recent = to_us(now - ALONE)
        open_still = [or_(done.is_(None), done > recent) for done in (asks.c.skipped_us, asks.c.answered_us)]
        query = select(asks.c.serial).where(asks.c.prediction == prediction, asks.c.user_id == user, *open_still).limit(1)
        with read_transaction(self._engine) as connection:
            return connection.scalar(query) is not None

    def of(self, some: Sequence[bytes]) -> dict[bytes, QueueItem]:
        """Why these predictions were first asked about, and how likely that was; those that were asked about at all."""
        query = select(asks.c.prediction, asks.c.why, asks.c.propensity).where(asks.c.prediction.in_(some))
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query.order_by(asks.c.serial.desc())).all()
        # Read from the last to the first, so that the first stays.
        return {bytes(row.prediction): _ask(row) for row in rows}

    def _new(self, connection: Connection, model: str, user: str, count: int, now: datetime) -> list[QueueItem]:
        lowest = _lowest(connection, model, NEWEST)
        free = and_(predictions.c.model == model, predictions.c.id >= lowest, _answered(), _not_asked(user, now))
        found: list[QueueItem] = []
        for why, condition, propensity in (
            (SamplingReason.UNCERTAIN, and_(predictions.c.uncertain.is_(True), ~_labelled()), 1.0),
            (SamplingReason.DISAGREEMENT, predictions.c.disputed.is_(True), 1.0),
            (SamplingReason.DISAGREEMENT, and_(predictions.c.id.in_(_versions_differ(connection, model)), ~_labelled()), 1.0),
            (SamplingReason.RANDOM, and_(predictions.c.uncertain.is_(False), _drawn(self._share), ~_labelled()), self._share),
        ):
            others = predictions.c.id.not_in([ask.prediction for ask in found])
            query = select(predictions.c.id).where(free, condition, others).order_by(_LOT).limit(count - len(found))
            found += [QueueItem(prediction=bytes(row.id), why=why, propensity=propensity) for row in connection.execute(query)]
        return found


def _drawn(share: float) -> ColumnElement[bool]:
    return _LOT.__lt__(sampling_threshold(share))


def _lowest(connection: Connection, model: str, count: int) -> bytes:
    """The smallest id among so many of the newest of a model; no bytes when there are fewer."""
    query = select(predictions.c.id).where(predictions.c.model == model).order_by(predictions.c.id.desc())
    return bytes(connection.scalar(query.offset(count - 1).limit(1)) or b"")


def _versions_differ(connection: Connection, model: str) -> list[bytes]:
    """The newest of those that were asked the same and answered otherwise by another version. Sealed inputs look never the same."""
    recent = and_(predictions.c.model == model, predictions.c.id >= _lowest(connection, model, COMPARED))
    newest = select(predictions.c.version).where(predictions.c.model == model).order_by(predictions.c.id.desc()).limit(COMPARED)
    versions = newest.subquery().c.version
    least, most = connection.execute(select(func.min(versions), func.max(versions))).one()
    if least == most:
        return []
    same: dict[str, Any] = {"partition_by": (predictions.c.input_sha256, predictions.c.input)}
    columns = [
        over.label(f"{name}_{column.name}")
        for column in (predictions.c.version, predictions.c.label)
        for name, over in (("least", func.min(column).over(**same)), ("most", func.max(column).over(**same)))
    ]
    turn = func.row_number().over(**same, order_by=predictions.c.id.desc()).label("turn")
    every = select(predictions.c.id, turn, *columns).where(recent, _answered()).subquery().c
    differ = and_(every.turn == 1, every.least_version != every.most_version, every.least_label != every.most_label)
    return [bytes(row.id) for row in connection.execute(select(every.id).where(differ))]


def _open(connection: Connection, model: str, user: str, limit: int) -> list[QueueItem]:
    mine = (asks.c.model == model, asks.c.user_id == user, asks.c.skipped_us.is_(None), asks.c.answered_us.is_(None))
    labelled = exists().where(labels.c.prediction == asks.c.prediction)
    there = predictions.c.id == asks.c.prediction
    disputed = exists().where(there, predictions.c.disputed.is_(True))
    needed = or_(~labelled, and_(asks.c.why == SamplingReason.DISAGREEMENT.value, disputed))
    query = (
        select(asks.c.prediction, asks.c.why, asks.c.propensity)
        .where(*mine, needed, exists().where(there, _answered()))
        .order_by(_TURN, asks.c.serial)
    )
    return [_ask(row) for row in connection.execute(query.limit(limit))]


def _ask(row: Any) -> QueueItem:
    return QueueItem(prediction=bytes(row.prediction), why=SamplingReason(row.why), propensity=row.propensity)


def _answered() -> ColumnElement[bool]:
    """What somebody can judge: it was answered to a caller, and what was asked is still there to look at."""
    kept = or_(predictions.c.input.is_not(None), predictions.c.input_sha256.is_not(None))
    return and_(predictions.c.error.is_(None), predictions.c.arm != Arm.SHADOW.value, kept)


def _labelled() -> ColumnElement[bool]:
    return exists().where(labels.c.prediction == predictions.c.id)


def _not_asked(user: str, now: datetime) -> ColumnElement[bool]:
    alone = and_(asks.c.skipped_us.is_(None), asks.c.answered_us.is_(None), asks.c.at_us > to_us(now - ALONE))
    return ~exists().where(asks.c.prediction == predictions.c.id, or_(asks.c.user_id == user, alone))
