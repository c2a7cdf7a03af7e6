"""Encrypted inputs: bound to their row, with a key for each subject, unreadable once that key is destroyed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from sqlalchemy import select

from relevo.domain.audit import LOCAL_ACTOR
from relevo.domain.prediction import PredictionRecord
from relevo.errors import DatabaseUnavailableError, InputNotStoredError, InputUndecryptableError, JournalUnavailableError
from relevo.store.db.engine import connect, read_transaction
from relevo.store.db.tables import data_keys
from relevo.store.encryption import InputEncryption
from relevo.store.erasure import Erasure
from relevo.store.files.blobs import Blobs
from relevo.store.predictions import PredictionStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from relevo.store.audit.log import AuditLog

pytest.importorskip("cryptography", reason="sealing is an extra")

AT = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
MASTER = bytes(range(32))
SECRET = b'{"name": "Nobody Whosoever", "marker": "a plaintext that must not lie about"}'


@pytest.fixture
def backend() -> str:
    """Encryption is the same on both databases; `test_erasure` and `test_retention` check the keys on both."""
    return "sqlite"


@pytest.fixture
def encryption(engine: Engine) -> InputEncryption:
    one = InputEncryption(engine, MASTER)
    one.load_day_key(AT)
    one.prepare("ana", at=AT)
    return one


def test_encryption_round_trip(encryption: InputEncryption, prediction: Callable[..., PredictionRecord]) -> None:
    """The ciphertext contains nothing of the input, differs each time, and decrypts to the same bytes."""
    one = prediction(input=SECRET, subject="ana")
    first, again = encryption.encrypt(one), encryption.encrypt(one)
    assert first.input is not None
    assert first.key is not None
    assert SECRET not in first.input
    assert first.input != again.input
    assert encryption.decrypt(one.id, first.key, first.input) == SECRET
    assert encryption.encrypt(prediction(input=None)).key is None


def test_each_subject_and_day_has_its_own_key(encryption: InputEncryption, prediction: Callable[..., PredictionRecord]) -> None:
    """Two subjects never share a key; records without a subject share that of their day."""
    encryption.prepare("eva", at=AT)
    keys = [encryption.encrypt(prediction(subject=subject)).key for subject in ("ana", "eva", None, None)]
    assert len(set(keys)) == 3
    encryption.load_day_key(AT + timedelta(minutes=2))
    assert encryption.encrypt(prediction()).key not in keys


def test_a_moved_ciphertext_does_not_decrypt(encryption: InputEncryption, prediction: Callable[..., PredictionRecord]) -> None:
    """A ciphertext that was moved, truncated or changed does not decrypt."""
    one, other = prediction(input=SECRET, subject="ana"), prediction(input=SECRET, subject="ana")
    sealed = encryption.encrypt(one)
    day = encryption.encrypt(prediction()).key
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
        with pytest.raises(InputUndecryptableError):
            encryption.decrypt(row, key, data)


def test_another_master_key_decrypts_nothing(
    engine: Engine, encryption: InputEncryption, prediction: Callable[..., PredictionRecord]
) -> None:
    """With another master key decryption fails, and new inputs get new keys."""
    one = encryption.encrypt(prediction(input=SECRET, subject="ana"))
    assert one.input is not None
    assert one.key is not None
    other = InputEncryption(engine, bytes(32))
    with pytest.raises(InputUndecryptableError):
        other.decrypt(one.id, one.key, one.input)
    other.prepare("ana", at=AT)
    assert other.encrypt(prediction(subject="ana")).key != one.key


def test_the_database_contains_wrapped_keys_only(engine: Engine, encryption: InputEncryption) -> None:
    """The table contains wrapped keys only."""
    assert encryption.is_ready("ana")
    with read_transaction(engine) as connection:
        rows = connection.execute(select(data_keys)).all()
    assert {row.subject for row in rows} == {"ana", "day:2026-03-01"}
    assert all(len(row.wrapped) == 12 + 32 + 16 for row in rows)


def test_a_cached_key_expires(engine: Engine) -> None:
    """A cached key needs no query for a minute; afterwards an erased subject gets a new key."""
    now = 0.0
    encryption = InputEncryption(engine, MASTER, monotonic=lambda: now)
    encryption.prepare("ana", at=AT)
    assert encryption.is_ready("ana")
    now = 60.0
    assert not encryption.is_ready("ana")


def test_without_a_key_nothing_is_stored(engine: Engine, prediction: Callable[..., PredictionRecord]) -> None:
    """Without a loaded key recording is refused; nothing is stored unencrypted."""
    with pytest.raises(JournalUnavailableError):
        InputEncryption(engine, MASTER).encrypt(prediction())
    with pytest.raises(JournalUnavailableError):
        InputEncryption(engine, MASTER).encrypt(prediction(subject="nobody prepared"))


def test_the_day_key_is_restored_without_the_database(
    engine: Engine, tmp_path: Path, prediction: Callable[..., PredictionRecord]
) -> None:
    """The wrapped day key is also in a file, useless without the master key."""
    place = tmp_path / "day.json"
    InputEncryption(engine, MASTER, remembered=place).load_day_key(AT)
    away = InputEncryption(connect(f"sqlite:///{tmp_path}/absent/relevo.db", make=False), MASTER, remembered=place)
    with pytest.raises(DatabaseUnavailableError):
        away.load_day_key(AT)
    away.restore_day_key()
    one = away.encrypt(prediction(input=SECRET))
    assert one.key is not None
    assert one.input is not None
    assert InputEncryption(engine, MASTER).decrypt(one.id, one.key, one.input) == SECRET
    stranger = InputEncryption(engine, bytes(32), remembered=place)
    stranger.restore_day_key()
    with pytest.raises(JournalUnavailableError):
        stranger.encrypt(prediction())


@pytest.mark.parametrize("size", [100, 40_000])
def test_the_prediction_log_decrypts_inputs(
    engine: Engine, encryption: InputEncryption, tmp_path: Path, prediction: Callable[..., PredictionRecord], size: int
) -> None:
    """Inputs are stored encrypted, in the row or in Blobs, and returned decrypted; without keys they are undecryptable."""
    blobs = Blobs(tmp_path / "blobs")
    one = prediction(input=SECRET * (size // len(SECRET)), subject="ana")
    journal = msgspec.msgpack.encode([encryption.encrypt(one)])
    assert SECRET not in journal
    PredictionStore(engine, blobs).insert(msgspec.msgpack.decode(journal, type=list[PredictionRecord]))
    assert PredictionStore(engine, blobs, encryption).input(one.id)[1] == one.input
    with pytest.raises(InputUndecryptableError):
        PredictionStore(engine, blobs).input(one.id)
    assert not any(SECRET in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_destroyed_key_decrypts_nothing(
    engine: Engine, encryption: InputEncryption, audit_log: AuditLog, tmp_path: Path, prediction: Callable[..., PredictionRecord]
) -> None:
    """After an erasure, a row restored from a backup stays undecryptable."""
    one = encryption.encrypt(prediction(input=SECRET, subject="ana"))
    assert one.key is not None
    assert one.input is not None
    Erasure(engine, Blobs(tmp_path), audit_log).erase("ana", at=AT, by=LOCAL_ACTOR)
    with pytest.raises(InputUndecryptableError):
        encryption.decrypt(one.id, one.key, one.input)
    with pytest.raises((InputNotStoredError, InputUndecryptableError)):
        InputEncryption(engine, MASTER).decrypt(one.id, one.key, one.input)
