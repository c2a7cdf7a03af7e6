"""Whatever somebody with the database in their hands does to the audit is seen: edit, delete, reorder, truncate, fork, replay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from relevo.domain.access import Role, Scope
from relevo.domain.audit import Actor, AuditEvent
from relevo.errors import ConfigError
from relevo.store.audit.checkpoints import FILE, LAST, Checkpoint, Checkpoints, load_checkpoints, read_heads
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
    """What is walked is the same on both; that both refuse changes is shown beside `Audit`."""
    return "sqlite"


def grow(engine: Engine, audit: AuditLog, count: int) -> None:
    """Append so many links, each by somebody else."""
    for number in range(count):
        with write_transaction(engine) as connection:
            act = AuditEvent(by=Actor(actor=f"user:{number}"), action="user.add", object=f"user:{number}", reason="why not")
            audit.append(connection, act, at=AT)


def tamper(engine: Engine, *statements: str) -> None:
    """What an attacker does who may do anything to the database."""
    with write_transaction(engine) as connection:
        _without_refusals(connection)
        for statement in statements:
            connection.execute(text(statement))


def _without_refusals(connection: Connection) -> None:
    for act in ("update", "delete"):
        table = "" if connection.dialect.name == "sqlite" else " ON audit"
        connection.execute(text(f"DROP TRIGGER IF EXISTS audit_refuse_{act}{table}"))


@pytest.fixture
def check(engine: Engine, trail: AuditLog) -> Callable[..., VerificationReport]:
    return lambda heads=(): verify(AuditReader(engine).links(), trail, heads)


def kinds(verdict: VerificationReport) -> list[tuple[int, str]]:
    return [(fault.sequence, fault.kind) for fault in verdict.faults]


def test_an_untouched_chain_is_whole(engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """Nothing is found where nothing was done, and the verdict tells the end."""
    assert check().whole
    grow(engine, trail, 5)
    verdict = check()
    assert (verdict.whole, verdict.links, verdict.head) == (True, 5, 5)


def test_an_edited_entry_is_seen(engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """A changed word, moment or seal breaks the entry, whichever it is."""
    edits = {"actor": "user:9", "reason": "", "after": "x", "at_us": 0, "address": "10.0.0.1", "object": "user:77", "seal": "00"}
    grow(engine, trail, len(edits))
    tamper(
        engine,
        *(
            f"UPDATE audit SET \"{column}\" = '{value}' WHERE sequence = {number}"  # noqa: S608 - words of this test
            for number, (column, value) in enumerate(edits.items(), 1)
        ),
    )
    assert kinds(check()) == [(number, "altered") for number in range(1, len(edits) + 1)]


def test_a_removed_entry_is_seen(engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """A number that is missing, and where the rest was renumbered, every entry after it."""
    grow(engine, trail, 4)
    tamper(engine, "DELETE FROM audit WHERE sequence = 2")
    assert kinds(check()) == [(2, "removed")]
    tamper(engine, "UPDATE audit SET sequence = sequence - 1 WHERE sequence = 3")
    assert (2, "unlinked") in kinds(check())
    assert (2, "altered") in kinds(check())


def test_exchanged_entries_are_seen(engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """Two entries that changed places do not follow each other."""
    grow(engine, trail, 4)
    tamper(
        engine,
        "UPDATE audit SET sequence = -3 WHERE sequence = 2",
        "UPDATE audit SET sequence = -2 WHERE sequence = 3",
        "UPDATE audit SET sequence = -sequence WHERE sequence < 0",
    )
    assert {(2, "altered"), (2, "unlinked"), (3, "altered")} <= set(kinds(check()))


def test_a_cut_end_is_seen_by_the_heads(
    engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport], tmp_path: Path
) -> None:
    """The chain itself is whole without its end; what was written down outside knows more."""
    grow(engine, trail, 5)
    Checkpoints(tmp_path, AuditReader(engine), trail).keep(AT, at_once=True)
    heads = read_heads(tmp_path / FILE)
    tamper(engine, "DELETE FROM audit WHERE sequence > 3")
    assert check().whole
    assert kinds(check(heads)) == [(4, "cut")]
    tamper(engine, "DELETE FROM audit")
    assert kinds(check(heads)) == [(1, "cut")]


def test_a_replayed_past_is_seen_by_the_heads(
    engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport], tmp_path: Path
) -> None:
    """An older state put back, and grown anew by the program itself, has other seals than were written down."""
    grow(engine, trail, 5)
    Checkpoints(tmp_path, AuditReader(engine), trail).keep(AT, at_once=True)
    tamper(engine, "DELETE FROM audit WHERE sequence > 3")
    with write_transaction(engine) as connection:
        trail.append(connection, AuditEvent(by=Actor(actor="cli"), action="user.role", object="user:1"), at=AT)
        trail.append(connection, AuditEvent(by=Actor(actor="cli"), action="user.role", object="user:2"), at=AT)
    assert check().whole
    assert kinds(check(read_heads(tmp_path / FILE))) == [(5, "other_past")]


def test_a_copied_entry_is_seen(engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """An entry played again under a new number has the seal of its old one."""
    grow(engine, trail, 3)
    columns = 'at_us, actor, action, object, "before", "after", reason, address, "key"'
    tamper(
        engine,
        f"INSERT INTO audit (sequence, {columns}, previous, seal) SELECT 4, {columns}, "  # noqa: S608 - words of this test
        "(SELECT seal FROM audit WHERE sequence = 3), seal FROM audit WHERE sequence = 2",
    )
    assert kinds(check()) == [(4, "altered")]


def test_a_fork_is_seen(engine: Engine, trail: AuditLog) -> None:
    """Where the database was made to take a second entry after the same one, the walk sees it."""
    grow(engine, trail, 2)
    links = list(AuditReader(engine).links())
    assert kinds(verify([*links, links[-1]], trail)) == [(2, "forked")]


def test_another_key_forges_nothing(engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """Who may write to the database and has no key cannot write an entry that counts."""
    grow(engine, trail, 2)
    grow(engine, AuditLog(b"another"), 1)
    assert kinds(check()) == [(3, "foreign_key")]
    tamper(engine, f"UPDATE audit SET \"key\" = '{trail.key_id}' WHERE sequence = 3")  # noqa: S608 - words of this test
    assert kinds(check()) == [(3, "altered")]


def test_a_forged_head_is_seen(engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport]) -> None:
    """A head that was put into the file by somebody without the key is told apart from a cut end."""
    grow(engine, trail, 2)
    assert kinds(check([Checkpoint(sequence=2, seal=check().seal, at_us=1, mark="00")])) == [(2, "head_forged")]
    assert check([Checkpoint(sequence=2, seal=check().seal)]).whole


def test_heads_are_written_every_hundred_entries_and_every_hour(engine: Engine, trail: AuditLog, tmp_path: Path) -> None:
    """Nothing is written where nothing is new; a hundred entries or an hour with one new entry make a head."""
    heads = Checkpoints(tmp_path, AuditReader(engine), trail)
    assert heads.keep(AT) is None
    grow(engine, trail, 1)
    first = heads.keep(AT)
    assert first is not None
    assert first.sequence == 1
    grow(engine, trail, 1)
    assert heads.keep(AT + timedelta(minutes=59)) is None
    assert heads.keep(AT + timedelta(minutes=61)) is not None
    assert Checkpoints(tmp_path, AuditReader(engine), trail).keep(AT + timedelta(hours=9)) is None
    grow(engine, trail, 100)
    assert heads.keep(AT + timedelta(minutes=62)) is not None
    assert [head.sequence for head in read_heads(tmp_path / FILE)] == [1, 2, 102]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """A file that holds no heads is told, rather than taken for none."""
    (tmp_path / FILE).write_text("hello\n")
    with pytest.raises(ConfigError):
        read_heads(tmp_path / FILE)
    assert read_heads(tmp_path / "absent") == []


def test_the_last_head_is_always_the_end(
    engine: Engine, trail: AuditLog, check: Callable[..., VerificationReport], tmp_path: Path
) -> None:
    """Each look puts the head in the place of the one before; what is appended after it, by whoever then dies, is no fault."""
    heads = Checkpoints(tmp_path, AuditReader(engine), trail)
    assert heads.look(AT) is None
    for count in (1, 2):
        grow(engine, trail, 1)
        heads.look(AT)
        assert [head.sequence for head in load_checkpoints(tmp_path)] == [count]
    assert heads.look(AT) is None
    grow(engine, trail, 1)
    assert check(load_checkpoints(tmp_path)).whole
    assert [path.name for path in tmp_path.glob("*.json*")] == [LAST]


@pytest.mark.parametrize("regrown", [0, 1, 7])
def test_a_cut_is_never_looked_over(
    engine: Engine,
    trail: AuditLog,
    check: Callable[..., VerificationReport],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    regrown: int,
) -> None:
    """A head that the chain no longer holds stays as a witness, however far the chain grows again, and the log tells."""
    grow(engine, trail, 5)
    Checkpoints(tmp_path, AuditReader(engine), trail).look(AT)
    tamper(engine, "DELETE FROM audit WHERE sequence > 3")
    grow(engine, trail, regrown)
    for _ in range(2):
        Checkpoints(tmp_path, AuditReader(engine), trail).look(AT)
        assert not check(load_checkpoints(tmp_path)).whole
        grow(engine, trail, 3)
    assert [head.sequence for head in read_heads(tmp_path / FILE)] == [5]
    assert caplog.text.count("cut off or exchanged at entry 5") == 1


def test_two_that_look_at_once_never_go_back(url: str, engine: Engine, trail: AuditLog, tmp_path: Path) -> None:
    """Several processes that append and look leave the head of the very last entry, and no fault."""
    engines = [connect(url) for _ in range(3)]

    def work(one: Engine) -> None:
        heads = Checkpoints(tmp_path, AuditReader(one), trail)
        for _ in range(8):
            grow(one, trail, 1)
            heads.look(AT)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, engines))
    assert [head.sequence for head in load_checkpoints(tmp_path)] == [24]
    assert verify(AuditReader(engine).links(), trail, load_checkpoints(tmp_path)).whole
    for one in engines:
        one.dispose()


def test_what_a_power_cut_left_of_a_line_is_no_head(engine: Engine, trail: AuditLog, tmp_path: Path) -> None:
    """A line that broke off at the end is passed over, and dropped when the next one is written; one in the middle is refused."""
    heads = Checkpoints(tmp_path, AuditReader(engine), trail)
    grow(engine, trail, 1)
    heads.keep(AT)
    whole = (tmp_path / FILE).read_text()
    for left in ('{"sequence":2,"se', '{"'):
        (tmp_path / FILE).write_text(whole + left)
        assert [head.sequence for head in read_heads(tmp_path / FILE)] == [1]
    grow(engine, trail, 1)
    Checkpoints(tmp_path, AuditReader(engine), trail).keep(AT, at_once=True)
    assert [head.sequence for head in read_heads(tmp_path / FILE)] == [1, 2]


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
    """The kinds of faults once somebody changed what stands beside the chain."""
    people, registry = Users(engine, audit), Registry(engine, audit)
    people.add_user("ana", Role.ADMIN, password_hash="", at=AT)
    bob = people.add_user("bob", Role.VIEWER, grants={"churn": Role.LABELER}, at=AT)
    people.change_user(people.add_user("carol", None, at=AT), UserChange(disabled=True), at=AT)
    dave = people.add_user("dave", Role.VIEWER, identity=("https://id.example", "one"), at=AT)
    people.elsewhere.link(dave, ExternalIdentity(issuer="https://id.example", subject="two"), at=AT)
    people.change_user(dave, UserChange(name="david"), at=AT)
    people.change_user(dave, UserChange(name="dave", role=Role.LABELER), at=AT)
    people.set_password(people.named("carol").id, "first", at=AT)
    people.rehash(people.named("carol").id, "first", "second", at=AT)
    key = people.keys.add(bob, "test", [Scope.PREDICT], at=AT, ends=AT + timedelta(days=9))
    people.keys.revoke(people.keys.rotate(key.key.id, at=AT, old_ends=AT).key.id, at=AT)
    for digest, called in (("ab", ()), ("cd", ["old.bin"]), ("cd", ["clf.pickle"])):
        registry.add(model="digits", digest=digest * 32, summary={}, who="ana", at=AT, synonyms=called)
    registry.move_alias("digits", "champion", 1, who="ana", why="", at=AT)
    registry.move_alias("digits", "champion", 2, who="ana", why="better", at=AT)
    assert verify(AuditReader(engine).links(), audit, state=read_state(engine)).whole
    with write_transaction(engine) as connection:
        for one in statement.strip(" ;").split(";"):
            connection.execute(text(one))
    return [fault.kind for fault in verify(AuditReader(engine).links(), audit, state=read_state(engine)).faults]


@pytest.mark.parametrize("statement", BEHIND_ITS_BACK)
def test_what_was_changed_by_sql_is_seen(engine: Engine, trail: AuditLog, statement: str) -> None:
    """An admin, a role, a grant, a key, a version or an alias that no entry made, or that is not as the entries say."""
    assert set(changed_by_sql(engine, trail, statement)) == {"state"}


def test_a_change_after_the_state_was_read_is_none_behind_the_audits_back(engine: Engine, trail: AuditLog) -> None:
    """A server that runs appends links while the chain is walked."""
    people = Users(engine, trail)
    people.add_user("ana", Role.ADMIN, password_hash="", at=AT)
    state = read_state(engine)
    people.add_user("bob", Role.VIEWER, at=AT)
    assert verify(AuditReader(engine).links(), trail, state=state).whole


def test_a_record_that_is_gone_as_a_whole_is_told(engine: Engine, trail: AuditLog) -> None:
    """Without any entry and any head, what the database or the home knows of users says that there was a record."""
    assert verify([], trail, state=read_state(engine), kept=False).whole
    assert kinds(verify([], trail, state=read_state(engine), kept=False, past=True)) == [(0, "heads_missing")]
    Users(engine, trail).add_user("ana", Role.ADMIN, password_hash="", at=AT)
    tamper(engine, "DELETE FROM audit")
    assert kinds(verify(AuditReader(engine).links(), trail, state=read_state(engine), kept=False)) == [
        (0, "heads_missing"),
        (0, "state"),
    ]


def test_missing_heads_are_told(engine: Engine, trail: AuditLog, tmp_path: Path) -> None:
    """Of a chain with links; a process that has seen a head tells of it even when the file was taken away with the end."""
    assert verify([], trail, kept=False).whole
    grow(engine, trail, 3)
    heads = Checkpoints(tmp_path / "heads", AuditReader(engine), trail)
    heads.look(AT)
    (tmp_path / "heads" / LAST).unlink()
    assert kinds(verify(AuditReader(engine).links(), trail, kept=False)) == [(3, "heads_missing")]
    tamper(engine, "DELETE FROM audit WHERE sequence = 3")
    heads.look(AT)
    verdict = verify(AuditReader(engine).links(), trail, load_checkpoints(tmp_path / "heads"))
    assert [fault.kind for fault in verdict.faults] == ["cut"]
