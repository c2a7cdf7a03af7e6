"""Notes and review reasons are encrypted where inputs are, and become unreadable with their key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from relevo.domain.audit import LOCAL_ACTOR
from relevo.domain.prediction import Label, PredictionRecord, ReviewStatus
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import data_keys, label_reviews, labels
from relevo.store.encryption import InputEncryption
from relevo.store.erasure import Erasure
from relevo.store.files.blobs import Blobs
from relevo.store.labels.labels import Labels
from relevo.store.labels.notes import SEALED, Notes
from relevo.store.predictions import PredictionStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from relevo.store.audit.log import AuditLog

pytest.importorskip("cryptography", reason="sealing is an extra")

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MASTER = bytes(range(32))
NOTE, REASON, BATCH = "Nobody Whosoever told me on Monday", "Whosoever is blurred, says a nurse", "from the list of Nobody"


@pytest.fixture
def disk(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Folder of the database and its log."""
    return tmp_path if backend == "sqlite" else Path(request.getfixturevalue("postgres").server.pgdata)


def sealed_labels(engine: Engine, audit_log: AuditLog, *, master: bytes = MASTER) -> Labels:
    return Labels(engine, audit_log, Notes(engine, InputEncryption(engine, master), encrypts=True))


def holding(disk: Path, *needles: str) -> set[str]:
    """Returns which of these texts are in the database's files as plain bytes."""
    files = [path.read_bytes() for path in disk.rglob("*") if path.is_file()]
    return {needle for needle in needles if any(needle.encode() in data for data in files)}


def said(prediction: bytes, note: str, author: str = "eva") -> Label:
    return Label(prediction=prediction, value="7", author=author, source="api", at=AT, note=note)


@pytest.mark.parametrize("seals", [True, False])
def test_no_note_is_stored_in_plain_text(
    engine: Engine, audit_log: AuditLog, disk: Path, prediction: Callable[..., PredictionRecord], backend: str, *, seals: bool
) -> None:
    """With encryption no file of the database contains a note or reason, and both are read back unchanged."""
    note, reason, batch = (f"{text} {backend} {seals}" for text in (NOTE, REASON, BATCH))
    some = Labels(engine, audit_log, Notes(engine, InputEncryption(engine, MASTER), encrypts=seals))
    one, other = prediction(subject="ana"), prediction()
    PredictionStore(engine).insert([one, other])
    kept = some.put(said(one.id, note))
    some.review(one.id, kept.serial, ReviewStatus.ACCEPTED, reviewer="leo", at=AT, reason=reason)
    some.put_many([said(other.id, batch)])
    assert holding(disk, note, reason, batch) == (set() if seals else {note, reason, batch})
    assert kept.note == note
    assert some.put(said(one.id, note)) == kept, "the same again is kept once"
    assert [label.note for label in some.for_prediction(one.id)] == [note]
    assert [label.note for label in some.resolved_many([one.id, other.id]).values()] == [note, batch]
    assert {item.label.note for item in some.page().items} == {note, batch}
    assert {label.note for found in some.labelled("digits") for several in found.values() for label in several} == {note, batch}
    with read_transaction(engine) as connection:
        keys = set(connection.scalars(select(data_keys.c.subject)))
        row = connection.execute(select(label_reviews)).one()
        if seals:
            tied = b"label_reviews\0reason\0" + str(kept.serial).encode()
            assert (
                InputEncryption(engine, MASTER).decrypt_text(connection, bytes(row.encrypted_reason), row.reason_key, tied)
                == reason
            )
    assert keys == ({"ana", "day:2023-11-14"} if seals else set())


def test_a_note_is_unreadable_without_the_subject_key(
    engine: Engine, audit_log: AuditLog, tmp_path: Path, prediction: Callable[..., PredictionRecord]
) -> None:
    """A note uses the key of its input; once that is destroyed, a copy of the label's row shows only its value."""
    encryption = InputEncryption(engine, MASTER)
    encryption.prepare("ana", at=AT)
    one = encryption.encrypt(prediction(subject="ana"))
    PredictionStore(engine).insert([one])
    some = sealed_labels(engine, audit_log)
    some.put(said(one.id, NOTE))
    with read_transaction(engine) as connection:
        row = connection.execute(select(labels)).one()
        assert (row.note, row.note_key) == ("", one.key)
    Erasure(engine, Blobs(tmp_path / "blobs"), audit_log).erase("ana", at=AT, by=LOCAL_ACTOR)
    with read_transaction(engine) as connection:
        assert Notes(engine, encryption, encrypts=True).read(connection, row) == SEALED


def test_a_label_applies_without_its_note_key(
    engine: Engine, audit_log: AuditLog, prediction: Callable[..., PredictionRecord]
) -> None:
    """With another master key or none the note is shown as sealed; the label still applies, and one without a note needs no key."""
    one = prediction()
    PredictionStore(engine).insert([one])
    sealed_labels(engine, audit_log).put(said(one.id, NOTE))
    for others in (Labels(engine, audit_log), sealed_labels(engine, audit_log, master=bytes(32))):
        assert [(label.value, label.note) for label in others.for_prediction(one.id)] == [("7", SEALED)]
    plain = Labels(engine, audit_log).put(said(one.id, "", author="bob"))
    assert [label.note for label in sealed_labels(engine, audit_log).for_prediction(one.id)] == [NOTE, plain.note]


def test_a_moved_note_does_not_decrypt(engine: Engine, audit_log: AuditLog, prediction: Callable[..., PredictionRecord]) -> None:
    """A ciphertext decrypts only with its own row and key."""
    some = [prediction(subject="ana"), prediction(subject="ana")]
    PredictionStore(engine).insert(some)
    notes = Notes(engine, InputEncryption(engine, MASTER), encrypts=True)
    first, second = (notes.columns(said(one.id, NOTE), 1) for one in some)
    assert first["note_key"] == second["note_key"]
    told = {"prediction": some[1].id, "value": "7", "author": "eva", "source": "api", "at_us": 1}
    with write_transaction(engine) as connection:
        connection.execute(labels.insert().values(**told, **first))
        connection.execute(labels.insert().values(**told, **second))
    assert [label.note for label in Labels(engine, audit_log, notes).for_prediction(some[1].id)] == [SEALED, NOTE]
