"""The audit is a chain: each link is sealed with the one before it."""

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


def test_each_link_holds_the_seal_of_the_one_before(engine: Engine) -> None:
    """Three changes make three links that follow each other, each with its own seal."""
    trail = AuditLog(b"key")
    for name in ("a", "b", "c"):
        with write_transaction(engine) as connection:
            trail.append(
                connection, AuditEvent(by=Actor(actor="cli"), action="user.add", object=f"user:{name}"), at=datetime.now(UTC)
            )
    with read_transaction(engine) as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(audit).order_by(audit.c.sequence))]
    assert [row["previous"] for row in rows] == ["", rows[0]["seal"], rows[1]["seal"]]
    assert all(row.pop("seal") == trail.key.seal(row) for row in rows)


def test_two_writers_never_fork(url: str) -> None:
    """Processes that append at the same time wait for each other; every link follows another one."""
    engines = [connect(url) for _ in range(4)]

    def append(number: int) -> None:
        with write_transaction(engines[number % 4]) as connection:
            act = AuditEvent(by=Actor(actor="cli"), action="user.add", object=f"user:{number}")
            AuditLog(b"key").append(connection, act, at=datetime.now(UTC))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(24)))
    verdict = verify(AuditReader(engines[0]).links(), AuditLog(b"key"))
    assert (verdict.links, verdict.faults) == (24, [])
    for engine in engines:
        engine.dispose()


def test_a_change_that_fails_leaves_no_link(engine: Engine) -> None:
    """The link stands and falls with the transaction of its change."""

    def fail() -> None:
        with write_transaction(engine) as connection:
            AuditLog(b"key").append(
                connection, AuditEvent(by=Actor(actor="cli"), action="user.add", object="user:1"), at=datetime.now(UTC)
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert AuditReader(engine).head() is None


def test_a_mark_tells_nothing_without_the_key() -> None:
    """Equal things have equal marks under one key, and other ones under another."""
    audit = AuditLog(b"key")
    assert audit.mark({"a": 1, "b": 2}) == audit.mark({"b": 2, "a": 1})
    assert audit.mark("7") != AuditLog(b"other").mark("7")
    assert audit.mark("7") != audit.mark("9")


def test_what_people_change_is_on_record(engine: Engine, trail: AuditLog) -> None:
    """Models, aliases, labels, users and keys: each change has its link, by whoever made it; what changed nothing has none."""
    registry, labels, people = Registry(engine, trail), Labels(engine, trail), Users(engine, trail)
    at, by = datetime.now(UTC), Actor(actor="user:1", address="10.0.0.1")
    for _ in range(2):
        registry.add(model="digits", digest="ab" * 32, summary={}, who="ana", at=at, by=by)
        registry.move_alias("digits", "champion", 1, who="ana", why="first", at=at, by=by)
    labels.put(Label(prediction=new_id(1), value="7", author="ana", source="api", at=at), by=by)
    user = people.add_user("ana", Role.ADMIN, at=at, by=by)
    people.add_key(user, "script", [Scope.PREDICT], at=at, by=by)
    links = list(AuditReader(engine).links())
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
    """Append so many links."""
    for number in range(count):
        with write_transaction(engine) as connection:
            act = AuditEvent(by=Actor(actor="cli"), action="user.add", object=f"user:{number}")
            AuditLog(b"key").append(connection, act, at=datetime.now(UTC))


def test_the_database_refuses_a_fork(engine: Engine) -> None:
    """No second entry follows the same one, whoever writes it."""
    grow(engine, 2)
    columns = 'at_us, actor, action, object, "before", "after", reason, address, "key", previous, seal'
    again = f"INSERT INTO audit (sequence, {columns}) SELECT 3, {columns} FROM audit WHERE sequence = 2"  # noqa: S608 - words of this test
    with pytest.raises(IntegrityError), write_transaction(engine) as connection:
        connection.execute(text(again))


def test_the_database_refuses_changes(engine: Engine) -> None:
    """Without taking its triggers away nobody edits or deletes, not even by mistake."""
    grow(engine, 1)
    for statement in ("UPDATE audit SET reason = ''", "DELETE FROM audit"):
        with pytest.raises((IntegrityError, DatabaseUnavailableError)), write_transaction(engine) as connection:
            connection.execute(text(statement))
