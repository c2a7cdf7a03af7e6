"""Inputs at rest: sealed with a key of their own, tied to their row, closed for ever once that key is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import select

from relevo.domain.audit import HERE
from relevo.domain.prediction import Prediction
from relevo.errors import InputNotKept, InputSealed, StorageUnavailable, StoreUnavailable
from relevo.store.db.engine import connect, reading
from relevo.store.db.tables import subject_keys
from relevo.store.encryption import Sealing
from relevo.store.erasure import Erasing
from relevo.store.files.blobs import Blobs
from relevo.store.predictions import History

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from relevo.store.audit.log import Audit

pytest.importorskip("cryptography", reason="sealing is an extra")

AT = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
MASTER = bytes(range(32))
SECRET = b'{"name": "Nobody Whosoever", "marker": "a plaintext that must not lie about"}'


@pytest.fixture
def backend() -> str:
    """What is sealed is the same on both; `test_erasing` and `test_retention` look at the keys of both."""
    return "sqlite"


@pytest.fixture
def sealing(engine: Engine) -> Sealing:
    one = Sealing(engine, MASTER)
    one.prepare_day(AT)
    one.prepare("ana", at=AT)
    return one


def test_what_is_sealed_opens_and_tells_nothing(sealing: Sealing, prediction: Callable[..., Prediction]) -> None:
    """The ciphertext holds nothing of the input, differs each time, and opens to the very bytes."""
    one = prediction(input=SECRET, subject="ana")
    first, again = sealing.seal(one), sealing.seal(one)
    assert first.input is not None
    assert first.key is not None
    assert SECRET not in first.input
    assert first.input != again.input
    assert sealing.open(one.id, first.key, first.input) == SECRET
    assert sealing.seal(prediction(input=None)).key is None


def test_each_subject_and_each_day_has_a_key_of_its_own(sealing: Sealing, prediction: Callable[..., Prediction]) -> None:
    """Two subjects never share a key; whatever names nobody shares that of the day it came."""
    sealing.prepare("eva", at=AT)
    keys = [sealing.seal(prediction(subject=subject)).key for subject in ("ana", "eva", None, None)]
    assert len(set(keys)) == 3
    sealing.prepare_day(AT + timedelta(minutes=2))
    assert sealing.seal(prediction()).key not in keys


def test_a_ciphertext_moved_to_another_row_does_not_open(sealing: Sealing, prediction: Callable[..., Prediction]) -> None:
    """Row, key and bytes belong together: exchanged, cut or changed, the input stays closed."""
    one, other = prediction(input=SECRET, subject="ana"), prediction(input=SECRET, subject="ana")
    sealed = sealing.seal(one)
    day = sealing.seal(prediction()).key
    assert sealed.input is not None
    assert sealed.key is not None
    assert day is not None
    for row, key, data in (
        (other.id, sealed.key, sealed.input),
        (one.id, day, sealed.input),
        (one.id, "0" * 32, sealed.input),
        (one.id, sealed.key, sealed.input[:-1]),
        (one.id, sealed.key, b""),
        (one.id, sealed.key, sealed.input[:-1] + bytes([sealed.input[-1] ^ 1])),
    ):
        with pytest.raises(InputSealed):
            sealing.open(row, key, data)


def test_another_master_key_opens_nothing(engine: Engine, sealing: Sealing, prediction: Callable[..., Prediction]) -> None:
    """With the wrong master key it fails closed, and new inputs get keys of their own rather than break."""
    one = sealing.seal(prediction(input=SECRET, subject="ana"))
    assert one.input is not None
    assert one.key is not None
    other = Sealing(engine, bytes(32))
    with pytest.raises(InputSealed):
        other.open(one.id, one.key, one.input)
    other.prepare("ana", at=AT)
    assert other.seal(prediction(subject="ana")).key != one.key


def test_no_key_of_data_lies_in_the_database(engine: Engine, sealing: Sealing) -> None:
    """What the table holds is wrapped: longer than a key, and nothing that opens by itself."""
    assert sealing.is_ready("ana")
    with reading(engine) as connection:
        rows = connection.execute(select(subject_keys)).all()
    assert {row.subject for row in rows} == {"ana", "day:2026-03-01"}
    assert all(len(row.wrapped) == 12 + 32 + 16 for row in rows)


def test_a_key_is_looked_up_again_after_a_minute(engine: Engine) -> None:
    """Meanwhile nothing is asked; afterwards an erased subject gets a new key."""
    now = 0.0
    sealing = Sealing(engine, MASTER, monotonic=lambda: now)
    sealing.prepare("ana", at=AT)
    assert sealing.is_ready("ana")
    now = 60.0
    assert not sealing.is_ready("ana")


def test_without_a_key_nothing_is_kept_in_the_open(engine: Engine, prediction: Callable[..., Prediction]) -> None:
    """Where no key is at hand, recording is refused rather than done unsealed."""
    with pytest.raises(StorageUnavailable):
        Sealing(engine, MASTER).seal(prediction())
    with pytest.raises(StorageUnavailable):
        Sealing(engine, MASTER).seal(prediction(subject="nobody prepared"))


def test_a_start_without_the_store_takes_the_key_used_last(
    engine: Engine, tmp_path: Path, prediction: Callable[..., Prediction]
) -> None:
    """The wrapped key of the day lies in a file, too, useless without the master key."""
    place = tmp_path / "day.json"
    Sealing(engine, MASTER, remembered=place).prepare_day(AT)
    away = Sealing(connect(f"sqlite:///{tmp_path}/absent/relevo.db", make=False), MASTER, remembered=place)
    with pytest.raises(StoreUnavailable):
        away.prepare_day(AT)
    away.recall_day()
    one = away.seal(prediction(input=SECRET))
    assert one.key is not None
    assert one.input is not None
    assert Sealing(engine, MASTER).open(one.id, one.key, one.input) == SECRET
    stranger = Sealing(engine, bytes(32), remembered=place)
    stranger.recall_day()
    with pytest.raises(StorageUnavailable):
        stranger.seal(prediction())


@pytest.mark.parametrize("size", [100, 40_000])
def test_the_history_opens_what_the_journal_sealed(
    engine: Engine, sealing: Sealing, tmp_path: Path, prediction: Callable[..., Prediction], size: int
) -> None:
    """In the row or among the blobs, the input is kept sealed and given open; without keys it is told as sealed."""
    blobs = Blobs(tmp_path / "blobs")
    one = prediction(input=SECRET * (size // len(SECRET)), subject="ana")
    journal = msgspec.msgpack.encode([sealing.seal(one)])
    assert SECRET not in journal
    History(engine, blobs).record(msgspec.msgpack.decode(journal, type=list[Prediction]))
    assert History(engine, blobs, sealing).input(one.id)[1] == one.input
    with pytest.raises(InputSealed):
        History(engine, blobs).input(one.id)
    assert not any(SECRET in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_destroyed_key_opens_nothing(
    engine: Engine, sealing: Sealing, trail: Audit, tmp_path: Path, prediction: Callable[..., Prediction]
) -> None:
    """After erasing, a copy of the row from yesterday's backup stays closed."""
    one = sealing.seal(prediction(input=SECRET, subject="ana"))
    assert one.key is not None
    assert one.input is not None
    Erasing(engine, Blobs(tmp_path), trail).erase("ana", at=AT, by=HERE)
    with pytest.raises(InputSealed):
        sealing.open(one.id, one.key, one.input)
    with pytest.raises((InputNotKept, InputSealed)):
        Sealing(engine, MASTER).open(one.id, one.key, one.input)
