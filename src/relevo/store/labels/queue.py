"""The label queue: selects which predictions a person labels next and records what was assigned to whom.

    GET /queue ─► slate(model, user) ─► open items of this person ─ enough? ─► returned
                                        └ too few ─► newest predictions ─ uncertain, then disputed, then random ─► new items, stored

An item is open until its prediction is labelled (a disputed one: until this person labels it, or it is no longer disputed) or the
person skips it. A prediction assigned to one person is not assigned to another for some time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select, text

from relevo.domain.label_sampling import LOT_BYTES, LOT_FROM, QueueItem, SamplingReason, sampling_threshold
from relevo.domain.prediction import Arm
from relevo.errors import PredictionNotFoundError
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import label_queue, labels, predictions
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

#: Number of a model's newest predictions that the queue considers, so that people label recent data.
NEWEST = 20_000
#: Number of these among which equal inputs are searched.
COMPARED = 2000
#: How long a prediction is reserved for the person it is assigned to.
ALONE = timedelta(hours=1)
_DEFAULT_SHARE = 0.1
_SAMPLING_KEY = func.substr(predictions.c.id, LOT_FROM + 1, LOT_BYTES)
_PRIORITY = case({SamplingReason.UNCERTAIN.value: 0, SamplingReason.DISAGREEMENT.value: 1}, value=label_queue.c.why, else_=2)


#: Race: the same person may request the queue twice at once.
_INSERT_ITEM = text(
    "INSERT INTO label_queue (prediction, model, user_id, why, propensity, at_us) "
    "VALUES (:prediction, :model, :user_id, :why, :propensity, :at_us) ON CONFLICT DO NOTHING"
)


class LabelQueue:
    """The label queue. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, *, share: float = _DEFAULT_SHARE) -> None:
        """share: fraction of the predictions that are neither uncertain nor disputed to sample, 0..1."""
        self._engine = engine
        self._sampling_share = share

    def next_items(self, model: str, user: str, limit: int, *, now: datetime) -> list[QueueItem]:
        """Returns the next items of this person, at most `limit`: uncertain ones, disputed ones, then randomly sampled ones."""
        with read_transaction(self._engine) as connection:
            items = _open_items(connection, model, user, limit)
        if len(items) == limit:
            return items
        with write_transaction(self._engine) as connection:
            for item in self._new_items(connection, model, user, limit - len(items), now):
                row = {"prediction": item.prediction, "model": model, "user_id": user, "why": item.reason.value}
                connection.execute(_INSERT_ITEM, row | {"propensity": item.propensity, "at_us": to_us(now)})
            return _open_items(connection, model, user, limit)

    def skip(self, prediction: bytes, user: str, *, now: datetime) -> None:
        """Removes this prediction from this person's queue. Raises PredictionNotFoundError if it was never assigned to them."""
        assigned = and_(label_queue.c.prediction == prediction, label_queue.c.user_id == user)
        with write_transaction(self._engine) as connection:
            if not connection.execute(label_queue.update().where(assigned).values(skipped_us=to_us(now))).rowcount:
                raise PredictionNotFoundError

    def was_asked(self, prediction: bytes, user: str, *, now: datetime) -> bool:
        """Whether this prediction is assigned to this person, or was completed within the last hour, so that they can correct it."""
        recent = to_us(now - ALONE)
        still_open = [
            or_(completed_us.is_(None), completed_us > recent)
            for completed_us in (label_queue.c.skipped_us, label_queue.c.answered_us)
        ]
        query = (
            select(label_queue.c.serial)
            .where(label_queue.c.prediction == prediction, label_queue.c.user_id == user, *still_open)
            .limit(1)
        )
        with read_transaction(self._engine) as connection:
            return connection.scalar(query) is not None

    def sampling_info(self, ids: Sequence[bytes]) -> dict[bytes, QueueItem]:
        """Returns, for these predictions, why they were first assigned and with which propensity; without those never assigned."""
        query = select(label_queue.c.prediction, label_queue.c.why, label_queue.c.propensity).where(
            label_queue.c.prediction.in_(ids)
        )
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query.order_by(label_queue.c.serial.desc())).all()
        # Newest first, so that the first assignment overwrites the later ones.
        return {bytes(row.prediction): _item(row) for row in rows}

    def _new_items(self, connection: Connection, model: str, user: str, count: int, now: datetime) -> list[QueueItem]:
        oldest = _oldest_of_newest(connection, model, NEWEST)
        available = and_(predictions.c.model == model, predictions.c.id >= oldest, _can_be_labelled(), _is_unassigned(user, now))
        items: list[QueueItem] = []
        for reason, condition, propensity in (
            (SamplingReason.UNCERTAIN, and_(predictions.c.uncertain.is_(True), ~_is_labelled()), 1.0),
            (SamplingReason.DISAGREEMENT, predictions.c.disputed.is_(True), 1.0),
            (
                SamplingReason.DISAGREEMENT,
                and_(predictions.c.id.in_(_disagreeing_versions(connection, model)), ~_is_labelled()),
                1.0,
            ),
            (
                SamplingReason.RANDOM,
                and_(predictions.c.uncertain.is_(False), _is_sampled(self._sampling_share), ~_is_labelled()),
                self._sampling_share,
            ),
        ):
            not_selected = predictions.c.id.not_in([item.prediction for item in items])
            query = (
                select(predictions.c.id).where(available, condition, not_selected).order_by(_SAMPLING_KEY).limit(count - len(items))
            )
            items += [
                QueueItem(prediction=bytes(row.id), reason=reason, propensity=propensity) for row in connection.execute(query)
            ]
        return items


def _is_sampled(share: float) -> ColumnElement[bool]:
    return _SAMPLING_KEY.__lt__(sampling_threshold(share))


def _oldest_of_newest(connection: Connection, model: str, count: int) -> bytes:
    """Returns the smallest id among the `count` newest of a model; empty when there are fewer."""
    query = select(predictions.c.id).where(predictions.c.model == model).order_by(predictions.c.id.desc())
    return bytes(connection.scalar(query.offset(count - 1).limit(1)) or b"")


def _disagreeing_versions(connection: Connection, model: str) -> list[bytes]:
    """Returns the newest predictions whose input another version labelled differently. Encrypted inputs never compare equal."""
    recent = and_(predictions.c.model == model, predictions.c.id >= _oldest_of_newest(connection, model, COMPARED))
    newest = select(predictions.c.version).where(predictions.c.model == model).order_by(predictions.c.id.desc()).limit(COMPARED)
    versions = newest.subquery().c.version
    lowest, highest = connection.execute(select(func.min(versions), func.max(versions))).one()
    if lowest == highest:
        return []
    same_input: dict[str, Any] = {"partition_by": (predictions.c.input_sha256, predictions.c.input)}
    columns = [
        extreme.label(f"{name}_{column.name}")
        for column in (predictions.c.version, predictions.c.label)
        for name, extreme in (("least", func.min(column).over(**same_input)), ("most", func.max(column).over(**same_input)))
    ]
    position = func.row_number().over(**same_input, order_by=predictions.c.id.desc()).label("turn")
    candidates = select(predictions.c.id, position, *columns).where(recent, _can_be_labelled()).subquery().c
    differ = and_(
        candidates.turn == 1, candidates.least_version != candidates.most_version, candidates.least_label != candidates.most_label
    )
    return [bytes(row.id) for row in connection.execute(select(candidates.id).where(differ))]


def _open_items(connection: Connection, model: str, user: str, limit: int) -> list[QueueItem]:
    assigned = (
        label_queue.c.model == model,
        label_queue.c.user_id == user,
        label_queue.c.skipped_us.is_(None),
        label_queue.c.answered_us.is_(None),
    )
    labelled = exists().where(labels.c.prediction == label_queue.c.prediction)
    same_prediction = predictions.c.id == label_queue.c.prediction
    disputed = exists().where(same_prediction, predictions.c.disputed.is_(True))
    needed = or_(~labelled, and_(label_queue.c.why == SamplingReason.DISAGREEMENT.value, disputed))
    query = (
        select(label_queue.c.prediction, label_queue.c.why, label_queue.c.propensity)
        .where(*assigned, needed, exists().where(same_prediction, _can_be_labelled()))
        .order_by(_PRIORITY, label_queue.c.serial)
    )
    return [_item(row) for row in connection.execute(query.limit(limit))]


def _item(row: Any) -> QueueItem:
    return QueueItem(prediction=bytes(row.prediction), reason=SamplingReason(row.why), propensity=row.propensity)


def _can_be_labelled() -> ColumnElement[bool]:
    """Condition: the prediction answered a request without error, and its input is still stored."""
    has_input = or_(predictions.c.input.is_not(None), predictions.c.input_sha256.is_not(None))
    return and_(predictions.c.error.is_(None), predictions.c.arm != Arm.SHADOW.value, has_input)


def _is_labelled() -> ColumnElement[bool]:
    return exists().where(labels.c.prediction == predictions.c.id)


def _is_unassigned(user: str, now: datetime) -> ColumnElement[bool]:
    reserved = and_(
        label_queue.c.skipped_us.is_(None), label_queue.c.answered_us.is_(None), label_queue.c.at_us > to_us(now - ALONE)
    )
    return ~exists().where(label_queue.c.prediction == predictions.c.id, or_(label_queue.c.user_id == user, reserved))
