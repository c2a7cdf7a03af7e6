"""Verification detects whatever an attacker with write access to the database does: edit, delete, reorder, truncate, fork, replay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from relevo.domain.access import Role, Scope
from relevo.domain.audit import Actor, AuditEvent
from relevo.errors import ConfigError
from relevo.store.audit.checkpoints import FILE, LAST, Checkpoint, Checkpoints, load_checkpoints, read_checkpoints
from relevo.store.audit.log import AuditLog
from relevo.store.audit.reader import AuditReader
from relevo.store.audit.state import read_state
from relevo.store.audit.verify import VerificationReport, verify
from relevo.store.auth.oidc_logins import ExternalIdentity
from relevo.store.auth.users import UserChange, Users
from relevo.store.db.engine import connect, write_transaction
from relevo.store.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection, Engine

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def backend() -> str:
    """Verification is the same on both databases; `test_log` shows that both reject changes."""
    return "sqlite"


def grow(engine: Engine, audit: AuditLog, count: int) -> None:
    """Appends this many entries, each by another actor."""
    for number in range(count):
        with write_transaction(engine) as connection:
            event = AuditEvent(by=Actor(actor=f"user:{number}"), action="user.add", object=f"user:{number}", reason="why not")
            audit.append(connection, event, at=AT)


def tamper(engine: Engine, *statements: str) -> None:
    """Executes SQL with the triggers removed, as an attacker can."""
    with write_transaction(engine) as connection:
        _without_refusals(connection)
        for statement in statements:
            connection.execute(text(statement))


def _without_refusals(connection: Connection) -> None:
    for act in ("update", "delete"):
        table = "" if connection.dialect.name == "sqlite" else " ON audit"
        connection.execute(text(f"DROP TRIGGER IF EXISTS audit_refuse_{act}{table}"))


@pytest.fixture
def check(engine: Engine, audit_log: AuditLog) -> Callable[..., VerificationReport]:
    return lambda heads=(): verify(AuditReader(engine).entries(), audit_log, heads)


def kinds(verdict: VerificationReport) -> list[tuple[int, str]]:
    return [(fault.sequence, fault.kind) for fault in verdict.faults]


def test_an_unchanged_chain_has_no_fault(engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """An unchanged chain has no fault, and the report contains its end."""
    assert check().is_whole
    grow(engine, audit_log, 5)
    verdict = check()
    assert (verdict.is_whole, verdict.links, verdict.head) == (True, 5, 5)


def test_an_edited_entry_is_detected(engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """A changed text, time or MAC makes the entry invalid, wherever it is."""
    edits = {"actor": "user:9", "reason": "", "after": "x", "at_us": 0, "address": "10.0.0.1", "object": "user:77", "mac": "00"}
    grow(engine, audit_log, len(edits))
    tamper(
        engine,
        *(
            f"UPDATE audit SET \"{column}\" = '{value}' WHERE sequence = {number}"  # noqa: S608 - words of this test
            for number, (column, value) in enumerate(edits.items(), 1)
        ),
    )
    assert kinds(check()) == [(number, "altered") for number in range(1, len(edits) + 1)]


def test_a_deleted_entry_is_detected(engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """A deleted entry leaves a gap; if the rest was renumbered, every entry after it is invalid."""
    grow(engine, audit_log, 4)
    tamper(engine, "DELETE FROM audit WHERE sequence = 2")
    assert kinds(check()) == [(2, "removed")]
    tamper(engine, "UPDATE audit SET sequence = sequence - 1 WHERE sequence = 3")
    assert (2, "unlinked") in kinds(check())
    assert (2, "altered") in kinds(check())


def test_swapped_entries_are_detected(engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """Two swapped entries do not follow their predecessors."""
    grow(engine, audit_log, 4)
    tamper(
        engine,
        "UPDATE audit SET sequence = -3 WHERE sequence = 2",
        "UPDATE audit SET sequence = -2 WHERE sequence = 3",
        "UPDATE audit SET sequence = -sequence WHERE sequence < 0",
    )
    assert {(2, "altered"), (2, "unlinked"), (3, "altered")} <= set(kinds(check()))


def test_a_cut_end_is_detected_by_checkpoints(
    engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport], tmp_path: Path
) -> None:
    """A chain without its end verifies by itself; a checkpoint reveals the cut."""
    grow(engine, audit_log, 5)
    Checkpoints(tmp_path, AuditReader(engine), audit_log).append(AT, at_once=True)
    heads = read_checkpoints(tmp_path / FILE)
    tamper(engine, "DELETE FROM audit WHERE sequence > 3")
    assert check().is_whole
    assert kinds(check(heads)) == [(4, "cut")]
    tamper(engine, "DELETE FROM audit")
    assert kinds(check(heads)) == [(1, "cut")]


def test_a_rollback_is_detected_by_checkpoints(
    engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport], tmp_path: Path
) -> None:
    """An older state, restored and extended by the program itself, has other MACs than the checkpoints."""
    grow(engine, audit_log, 5)
    Checkpoints(tmp_path, AuditReader(engine), audit_log).append(AT, at_once=True)
    tamper(engine, "DELETE FROM audit WHERE sequence > 3")
    with write_transaction(engine) as connection:
        audit_log.append(connection, AuditEvent(by=Actor(actor="cli"), action="user.role", object="user:1"), at=AT)
        audit_log.append(connection, AuditEvent(by=Actor(actor="cli"), action="user.role", object="user:2"), at=AT)
    assert check().is_whole
    assert kinds(check(read_checkpoints(tmp_path / FILE))) == [(5, "other_past")]


def test_a_copied_entry_is_detected(engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """An entry copied to a new number has the MAC of the old one."""
    grow(engine, audit_log, 3)
    columns = 'at_us, actor, action, object, "before", "after", reason, address, "key"'
    tamper(
        engine,
        f"INSERT INTO audit (sequence, {columns}, previous, mac) SELECT 4, {columns}, "  # noqa: S608 - words of this test
        "(SELECT mac FROM audit WHERE sequence = 3), mac FROM audit WHERE sequence = 2",
    )
    assert kinds(check()) == [(4, "altered")]


def test_a_fork_is_detected(engine: Engine, audit_log: AuditLog) -> None:
    """A second entry after the same one is reported if the database was made to accept it."""
    grow(engine, audit_log, 2)
    links = list(AuditReader(engine).entries())
    assert kinds(verify([*links, links[-1]], audit_log)) == [(2, "forked")]


def test_an_entry_by_another_key_is_detected(engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """Write access without the key does not suffice to write a valid entry."""
    grow(engine, audit_log, 2)
    grow(engine, AuditLog(b"another"), 1)
    assert kinds(check()) == [(3, "foreign_key")]
    tamper(engine, f"UPDATE audit SET \"key\" = '{audit_log.key_id}' WHERE sequence = 3")  # noqa: S608 - words of this test
    assert kinds(check()) == [(3, "altered")]


def test_a_forged_checkpoint_is_detected(engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """A checkpoint written without the key is reported as forged, not as a cut end."""
    grow(engine, audit_log, 2)
    assert kinds(check([Checkpoint(sequence=2, mac=check().mac, at_us=1, signature="00")])) == [(2, "head_forged")]
    assert check([Checkpoint(sequence=2, mac=check().mac)]).is_whole


def test_checkpoints_are_due_every_hundred_entries_and_every_hour(engine: Engine, audit_log: AuditLog, tmp_path: Path) -> None:
    """A permanent checkpoint needs a hundred new entries, or one new entry within an hour; otherwise nothing is written."""
    heads = Checkpoints(tmp_path, AuditReader(engine), audit_log)
    assert heads.append(AT) is None
    grow(engine, audit_log, 1)
    first = heads.append(AT)
    assert first is not None
    assert first.sequence == 1
    grow(engine, audit_log, 1)
    assert heads.append(AT + timedelta(minutes=59)) is None
    assert heads.append(AT + timedelta(minutes=61)) is not None
    assert Checkpoints(tmp_path, AuditReader(engine), audit_log).append(AT + timedelta(hours=9)) is None
    grow(engine, audit_log, 100)
    assert heads.append(AT + timedelta(minutes=62)) is not None
    assert [head.sequence for head in read_checkpoints(tmp_path / FILE)] == [1, 2, 102]


def test_a_file_with_other_content_is_rejected(tmp_path: Path) -> None:
    """A file with other content is an error, not an empty list of checkpoints."""
    (tmp_path / FILE).write_text("hello\n")
    with pytest.raises(ConfigError):
        read_checkpoints(tmp_path / FILE)
    assert read_checkpoints(tmp_path / "absent") == []


def test_the_last_checkpoint_follows_the_chain(
    engine: Engine, audit_log: AuditLog, check: Callable[..., VerificationReport], tmp_path: Path
) -> None:
    """Each update replaces the last checkpoint; entries appended later, even by a process that dies, are no fault."""
    heads = Checkpoints(tmp_path, AuditReader(engine), audit_log)
    assert heads.update(AT) is None
    for count in (1, 2):
        grow(engine, audit_log, 1)
        heads.update(AT)
        assert [head.sequence for head in load_checkpoints(tmp_path)] == [count]
    assert heads.update(AT) is None
    grow(engine, audit_log, 1)
    assert check(load_checkpoints(tmp_path)).is_whole
    assert [path.name for path in tmp_path.glob("*.json*")] == [LAST]


@pytest.mark.parametrize("regrown", [0, 1, 7])
def test_a_cut_end_is_kept_as_evidence(
    engine: Engine,
    audit_log: AuditLog,
    check: Callable[..., VerificationReport],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    regrown: int,
) -> None:
    """A checkpoint that the chain no longer contains is kept as evidence and logged, however long the chain grows again."""
    grow(engine, audit_log, 5)
    Checkpoints(tmp_path, AuditReader(engine), audit_log).update(AT)
    tamper(engine, "DELETE FROM audit WHERE sequence > 3")
    grow(engine, audit_log, regrown)
    for _ in range(2):
        Checkpoints(tmp_path, AuditReader(engine), audit_log).update(AT)
        assert not check(load_checkpoints(tmp_path)).is_whole
        grow(engine, audit_log, 3)
    assert [head.sequence for head in read_checkpoints(tmp_path / FILE)] == [5]
    assert caplog.text.count("cut off or exchanged at entry 5") == 1


def test_concurrent_updates_never_go_back(url: str, engine: Engine, audit_log: AuditLog, tmp_path: Path) -> None:
    """Concurrent processes that append and update leave the checkpoint of the very last entry, and no fault."""
    engines = [connect(url) for _ in range(3)]

    def work(one: Engine) -> None:
        heads = Checkpoints(tmp_path, AuditReader(one), audit_log)
        for _ in range(8):
            grow(one, audit_log, 1)
            heads.update(AT)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, engines))
    assert [head.sequence for head in load_checkpoints(tmp_path)] == [24]
    assert verify(AuditReader(engine).entries(), audit_log, load_checkpoints(tmp_path)).is_whole
    for one in engines:
        one.dispose()


def test_a_partial_last_line_is_ignored(engine: Engine, audit_log: AuditLog, tmp_path: Path) -> None:
    """A partial last line is ignored and dropped at the next write; one in the middle is an error."""
    heads = Checkpoints(tmp_path, AuditReader(engine), audit_log)
    grow(engine, audit_log, 1)
    heads.append(AT)
    whole = (tmp_path / FILE).read_text()
    for left in ('{"sequence":2,"se', '{"'):
        (tmp_path / FILE).write_text(whole + left)
        assert [head.sequence for head in read_checkpoints(tmp_path / FILE)] == [1]
    grow(engine, audit_log, 1)
    Checkpoints(tmp_path, AuditReader(engine), audit_log).append(AT, at_once=True)
    assert [head.sequence for head in read_checkpoints(tmp_path / FILE)] == [1, 2]


BEHIND_ITS_BACK = """
    INSERT INTO users (id, name, role, made_us) VALUES ('0', 'mallory', 'admin', 0);
    UPDATE users SET role = 'admin' WHERE name = 'bob';
    UPDATE users SET disabled_us = NULL WHERE name = 'carol';
    UPDATE api_keys SET revoked_us = NULL;
    UPDATE api_keys SET scopes = 'operate predict';
    INSERT INTO grants (user_id, model, role) SELECT id, 'digits', 'operator' FROM users WHERE name = 'bob';
    INSERT INTO alias_moves (model, alias, serial, version, who, why, at_us) VALUES ('digits', 'champion', 3, 1, '', '', 0);
    DROP TRIGGER alias_moves_refuse_update; UPDATE alias_moves SET version = 1;
    UPDATE versions SET digest = 'ff' WHERE number = 1;
    UPDATE versions SET summary = '{"synonyms":["clf.pickle"]}' WHERE number = 1;
    UPDATE versions SET summary = '{}' WHERE number = 2;
    UPDATE versions SET summary = '{' WHERE number = 2;
    DELETE FROM grants
    UPDATE users SET issuer = 'https://id.example', subject = 'mallory' WHERE name = 'ana';
    UPDATE users SET subject = 'mallory' WHERE name = 'dave';
    UPDATE users SET name = 'ann' WHERE name = 'ana';
    UPDATE users SET password_hash = 'another' WHERE name = 'ana';
    UPDATE users SET password_hash = 'another' WHERE name = 'carol';
    UPDATE api_keys SET ends_us = ends_us + 1 WHERE ends_us IS NOT NULL;
    UPDATE api_keys SET ends_us = NULL WHERE id = (SELECT min(id) FROM api_keys);
    UPDATE api_keys SET secret_hash = 'ff' WHERE revoked_us IS NOT NULL;
    DROP TRIGGER alias_moves_refuse_update; UPDATE alias_moves SET who = 'bob' WHERE version = 1;
    DROP TRIGGER alias_moves_refuse_update; UPDATE alias_moves SET why = 'another' WHERE version = 2
""".splitlines()[1:]


def changed_by_sql(engine: Engine, audit: AuditLog, statement: str) -> list[str]:
    """Returns the kinds of faults after a change by SQL."""
    user_store, registry = Users(engine, audit), Registry(engine, audit)
    user_store.add_user("ana", Role.ADMIN, password_hash="", at=AT)
    bob = user_store.add_user("bob", Role.VIEWER, grants={"churn": Role.LABELER}, at=AT)
    user_store.change_user(user_store.add_user("carol", None, at=AT), UserChange(disabled=True), at=AT)
    dave = user_store.add_user("dave", Role.VIEWER, identity=("https://id.example", "one"), at=AT)
    user_store.elsewhere.link_user(dave, ExternalIdentity(issuer="https://id.example", subject="two"), at=AT)
    user_store.change_user(dave, UserChange(name="david"), at=AT)
    user_store.change_user(dave, UserChange(name="dave", role=Role.LABELER), at=AT)
    user_store.set_password(user_store.get_by_name("carol").id, "first", at=AT)
    user_store.rehash(user_store.get_by_name("carol").id, "first", "second", at=AT)
    key = user_store.keys.add(bob, "test", [Scope.PREDICT], at=AT, ends=AT + timedelta(days=9))
    user_store.keys.revoke(user_store.keys.rotate(key.key.id, at=AT, old_ends=AT).key.id, at=AT)
    for digest, called in (("ab", ()), ("cd", ["old.bin"]), ("cd", ["clf.pickle"])):
        registry.add(model="digits", digest=digest * 32, summary={}, author="ana", at=AT, synonyms=called)
    registry.move_alias("digits", "champion", 1, author="ana", reason="", at=AT)
    registry.move_alias("digits", "champion", 2, author="ana", reason="better", at=AT)
    assert verify(AuditReader(engine).entries(), audit, state=read_state(engine)).is_whole
    with write_transaction(engine) as connection:
        for one in statement.strip(" ;").split(";"):
            connection.execute(text(one))
    return [fault.kind for fault in verify(AuditReader(engine).entries(), audit, state=read_state(engine)).faults]


@pytest.mark.parametrize("statement", BEHIND_ITS_BACK)
def test_changes_by_sql_are_detected(engine: Engine, audit_log: AuditLog, statement: str) -> None:
    """An admin, role, grant, key, version or alias without an entry, or different from its entries, is reported."""
    assert set(changed_by_sql(engine, audit_log, statement)) == {"state"}


def test_changes_during_the_verification_are_no_fault(engine: Engine, audit_log: AuditLog) -> None:
    """A running server appends entries during the verification, which is no fault."""
    user_store = Users(engine, audit_log)
    user_store.add_user("ana", Role.ADMIN, password_hash="", at=AT)
    state = read_state(engine)
    user_store.add_user("bob", Role.VIEWER, at=AT)
    assert verify(AuditReader(engine).entries(), audit_log, state=state).is_whole


def test_a_deleted_log_is_detected(engine: Engine, audit_log: AuditLog) -> None:
    """With all entries and checkpoints deleted, the users in the database or the home reveal that a log existed."""
    assert verify([], audit_log, state=read_state(engine), has_file=False).is_whole
    assert kinds(verify([], audit_log, state=read_state(engine), has_file=False, past=True)) == [(0, "heads_missing")]
    Users(engine, audit_log).add_user("ana", Role.ADMIN, password_hash="", at=AT)
    tamper(engine, "DELETE FROM audit")
    assert kinds(verify(AuditReader(engine).entries(), audit_log, state=read_state(engine), has_file=False)) == [
        (0, "heads_missing"),
        (0, "state"),
    ]


def test_missing_checkpoints_are_reported(engine: Engine, audit_log: AuditLog, tmp_path: Path) -> None:
    """Missing checkpoints of a non-empty chain are reported; a process that has seen one reports a cut although the file was deleted."""
    assert verify([], audit_log, has_file=False).is_whole
    grow(engine, audit_log, 3)
    heads = Checkpoints(tmp_path / "heads", AuditReader(engine), audit_log)
    heads.update(AT)
    (tmp_path / "heads" / LAST).unlink()
    assert kinds(verify(AuditReader(engine).entries(), audit_log, has_file=False)) == [(3, "heads_missing")]
    tamper(engine, "DELETE FROM audit WHERE sequence = 3")
    heads.update(AT)
    verdict = verify(AuditReader(engine).entries(), audit_log, load_checkpoints(tmp_path / "heads"))
    assert [fault.kind for fault in verdict.faults] == ["cut"]
