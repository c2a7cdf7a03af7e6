"""Rotation of the audit key: old entries stay verifiable, new ones require the new key, and a kill in between is recovered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from relevo.domain.audit import LOCAL_ACTOR, Actor, AuditEvent
from relevo.store.audit.checkpoints import Checkpoints, load_checkpoints
from relevo.store.audit.keys import AuditKey, AuditKeyRing
from relevo.store.audit.log import AuditLog
from relevo.store.audit.reader import AuditReader
from relevo.store.audit.verify import VerificationReport, verify
from relevo.store.db.engine import write_transaction

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def ring(tmp_path: Path) -> AuditKeyRing:
    return AuditKeyRing(tmp_path / "keys")


def opened(ring: AuditKeyRing) -> AuditLog:
    """Returns the log as opened by a new process."""
    return AuditLog(ring.current(), ring=ring)


def grow(engine: Engine, audit: AuditLog) -> None:
    with write_transaction(engine) as connection:
        audit.append(connection, AuditEvent(by=Actor(actor="cli"), action="user.add", object="user:1"), at=AT)


def rotate(engine: Engine, ring: AuditKeyRing, *, killed: bool = False) -> bytes:
    """killed: after the commit, before the key file is renamed."""
    new = ring.generate()
    with write_transaction(engine) as connection:
        opened(ring).rotate_key(connection, new, by=LOCAL_ACTOR, at=AT)
    if not killed:
        ring.activate(new)
    return new


def checked(engine: Engine, ring: AuditKeyRing, folder: Path | None = None) -> VerificationReport:
    return verify(AuditReader(engine).entries(), opened(ring), load_checkpoints(folder) if folder else ())


def kinds(verdict: VerificationReport) -> list[tuple[int, str]]:
    return [(fault.sequence, fault.kind) for fault in verdict.faults]


def test_old_entries_stay_verifiable(engine: Engine, ring: AuditKeyRing) -> None:
    """After two rotations the whole chain and earlier checkpoints verify, and a process that kept running follows."""
    running = opened(ring)
    for entries in (3, 6):
        grow(engine, running)
        rotate(engine, ring)
        assert checked(engine, ring).links == entries
    grow(engine, running)
    assert running.key_id == AuditKey(ring.current()).id
    assert checked(engine, ring).is_whole


def test_digests_survive_rotation(engine: Engine, ring: AuditKeyRing) -> None:
    """Pseudonyms are stored in rows: a process started after a rotation computes the same ones."""
    before = opened(ring).pseudonymize(["subject", "patient 17"])
    for _ in range(2):
        rotate(engine, ring)
        assert opened(ring).pseudonymize(["subject", "patient 17"]) == before


def test_entries_by_the_old_key_are_detected(engine: Engine, ring: AuditKeyRing) -> None:
    """Entries written to the database with a stolen old key are detected, and no process returns to the old key."""
    stolen = ring.current()
    rotate(engine, ring)
    grow(engine, AuditLog(stolen))
    grow(engine, opened(ring))
    assert kinds(checked(engine, ring)) == [(3, "replaced_key")]


def test_a_rollback_to_the_old_key_is_detected(engine: Engine, ring: AuditKeyRing) -> None:
    """A chain cut back to before the rotation and extended with the stolen key lacks entries of the current key."""
    stolen = ring.current()
    grow(engine, opened(ring))
    rotate(engine, ring)
    with write_transaction(engine) as connection:
        for act in ("delete", "update"):
            on = "" if connection.dialect.name == "sqlite" else " ON audit"
            connection.execute(text(f"DROP TRIGGER audit_refuse_{act}{on}"))
        connection.execute(text("DELETE FROM audit WHERE sequence > 1"))
    grow(engine, AuditLog(stolen))
    assert kinds(checked(engine, ring)) == [(3, "cut")]


def test_kill_before_the_commit_changes_nothing(engine: Engine, ring: AuditKeyRing) -> None:
    """A generated key that was never used is no fault, and the next rotation works."""
    grow(engine, opened(ring))
    ring.generate()
    assert checked(engine, ring).is_whole
    rotate(engine, ring)
    assert checked(engine, ring).is_whole


def test_kill_after_the_commit_is_finished_by_the_next_process(engine: Engine, ring: AuditKeyRing) -> None:
    """The chain verifies at once, and the next process that appends, even one already running, renames the key file."""
    running = opened(ring)
    grow(engine, running)
    new = rotate(engine, ring, killed=True)
    assert checked(engine, ring).is_whole
    grow(engine, running)
    assert ring.current() == new
    grow(engine, opened(ring))
    verdict = checked(engine, ring)
    assert (verdict.links, verdict.faults) == (5, [])


def test_checkpoints_of_both_keys_are_valid(engine: Engine, ring: AuditKeyRing, tmp_path: Path) -> None:
    """A checkpoint signed with the old key stays valid after the rotation."""
    grow(engine, opened(ring))
    Checkpoints(tmp_path / "audit", AuditReader(engine), opened(ring)).append(AT)
    rotate(engine, ring)
    Checkpoints(tmp_path / "audit", AuditReader(engine), opened(ring)).update(AT)
    verdict = checked(engine, ring, tmp_path / "audit")
    assert (verdict.checkpoints, verdict.faults) == (2, [])
