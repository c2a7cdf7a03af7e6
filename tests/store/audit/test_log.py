"""The audit log is a chain: each entry contains the MAC of the previous one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from relevo.domain.access import Role, Scope
from relevo.domain.audit import Actor, AuditEvent, without_marks
from relevo.domain.ids import new_id
from relevo.domain.prediction import Label
from relevo.errors import DatabaseUnavailableError
from relevo.store.audit.log import AuditLog
from relevo.store.audit.reader import AuditReader
from relevo.store.audit.verify import verify
from relevo.store.auth.users import Users
from relevo.store.db.engine import connect, read_transaction, write_transaction
from relevo.store.db.tables import audit
from relevo.store.labels.labels import Labels
from relevo.store.registry import Registry

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_each_entry_contains_the_previous_mac(engine: Engine) -> None:
    """Three changes add three consecutive entries, each with its own MAC."""
    audit_log = AuditLog(b"key")
    for name in ("a", "b", "c"):
        with write_transaction(engine) as connection:
            audit_log.append(
                connection, AuditEvent(by=Actor(actor="cli"), action="user.add", object=f"user:{name}"), at=datetime.now(UTC)
            )
    with read_transaction(engine) as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(audit).order_by(audit.c.sequence))]
    assert [row["previous"] for row in rows] == ["", rows[0]["mac"], rows[1]["mac"]]
    assert all(row.pop("mac") == audit_log.key.mac(row) for row in rows)


def test_concurrent_writers_never_fork(url: str) -> None:
    """Processes that append at the same time wait for each other, and the chain does not fork."""
    engines = [connect(url) for _ in range(4)]

    def append(number: int) -> None:
        with write_transaction(engines[number % 4]) as connection:
            act = AuditEvent(by=Actor(actor="cli"), action="user.add", object=f"user:{number}")
            AuditLog(b"key").append(connection, act, at=datetime.now(UTC))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(24)))
    verdict = verify(AuditReader(engines[0]).entries(), AuditLog(b"key"))
    assert (verdict.links, verdict.faults) == (24, [])
    for engine in engines:
        engine.dispose()


def test_a_failed_change_leaves_no_entry(engine: Engine) -> None:
    """An entry is rolled back with the transaction of its change."""

    def fail() -> None:
        with write_transaction(engine) as connection:
            AuditLog(b"key").append(
                connection, AuditEvent(by=Actor(actor="cli"), action="user.add", object="user:1"), at=datetime.now(UTC)
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert AuditReader(engine).last_entry() is None


def test_digests_depend_on_the_key() -> None:
    """Equal values have equal digests under one key, and different digests under another."""
    audit = AuditLog(b"key")
    assert audit.pseudonymize({"a": 1, "b": 2}) == audit.pseudonymize({"b": 2, "a": 1})
    assert audit.pseudonymize("7") != AuditLog(b"other").pseudonymize("7")
    assert audit.pseudonymize("7") != audit.pseudonymize("9")


def test_every_change_is_recorded(engine: Engine, audit_log: AuditLog) -> None:
    """Each change of models, aliases, labels, users and keys adds an entry with its author; a call that changes nothing adds none."""
    registry, labels, user_store = Registry(engine, audit_log), Labels(engine, audit_log), Users(engine, audit_log)
    at, by = datetime.now(UTC), Actor(actor="user:1", address="10.0.0.1")
    for _ in range(2):
        registry.add(model="digits", digest="ab" * 32, summary={}, author="ana", at=at, by=by)
        registry.move_alias("digits", "champion", 1, author="ana", reason="first", at=at, by=by)
    labels.put(Label(prediction=new_id(1), value="7", author="ana", source="api", at=at), by=by)
    user = user_store.add_user("ana", Role.ADMIN, at=at, by=by)
    user_store.add_key(user, "script", [Scope.PREDICT], at=at, by=by)
    links = list(AuditReader(engine).entries())
    assert [link.action for link in links] == ["version.add", "alias.move", "label.give", "user.add", "key.add"]
    assert {(link.actor, link.address) for link in links} == {("user:1", "10.0.0.1")}
    assert (links[1].object, links[1].before, without_marks(links[1].after), links[1].reason) == (
        "model:digits/alias:champion",
        "",
        "1",
        "first",
    )
    assert not any("ana" in str(link) for link in links)


def grow(engine: Engine, count: int) -> None:
    """Appends this many entries."""
    for number in range(count):
        with write_transaction(engine) as connection:
            event = AuditEvent(by=Actor(actor="cli"), action="user.add", object=f"user:{number}")
            AuditLog(b"key").append(connection, event, at=datetime.now(UTC))


def test_the_database_refuses_a_fork(engine: Engine) -> None:
    """The database rejects a second entry after the same one."""
    grow(engine, 2)
    columns = 'at_us, actor, action, object, "before", "after", reason, address, "key", previous, mac'
    again = f"INSERT INTO audit (sequence, {columns}) SELECT 3, {columns} FROM audit WHERE sequence = 2"  # noqa: S608 - words of this test
    with pytest.raises(IntegrityError), write_transaction(engine) as connection:
        connection.execute(text(again))


def test_the_database_refuses_changes(engine: Engine) -> None:
    """Triggers reject every update and deletion."""
    grow(engine, 1)
    for statement in ("UPDATE audit SET reason = ''", "DELETE FROM audit"):
        with pytest.raises((IntegrityError, DatabaseUnavailableError)), write_transaction(engine) as connection:
            connection.execute(text(statement))
