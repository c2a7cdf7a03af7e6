"""Reading the audit log: newest first, in pages, by object and by actor."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from relevo.domain.audit import Actor, AuditEvent
from relevo.errors import FieldRangeError, FieldTypeError
from relevo.store.audit.reader import AuditReader
from relevo.store.db.engine import write_transaction

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from relevo.store.audit.log import AuditLog

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def read(engine: Engine, audit_log: AuditLog) -> AuditReader:
    things = ("model:digits/alias:champion", "model:digits", "model:digits_2/version:1", "user:1", "model:x%/alias:a")
    with write_transaction(engine) as connection:
        for number, thing in enumerate(things):
            actor = "cli" if number % 2 else "user:1"
            audit_log.append(connection, AuditEvent(by=Actor(actor=actor, address="::1"), action="test", object=thing), at=AT)
    return AuditReader(engine)


def test_pages_are_newest_first(read: AuditReader) -> None:
    """Each entry appears once, and the last page has no cursor."""
    first = read.page(limit=3)
    rest = read.page(limit=3, cursor=first.next_cursor)
    assert [link.sequence for link in first.items + rest.items] == [5, 4, 3, 2, 1]
    assert rest.next_cursor is None
    assert (first.items[0].at, first.items[0].address) == (AT, "::1")


def test_an_object_filter_includes_nested_objects(read: AuditReader) -> None:
    """A model's name finds its aliases and no model with the same prefix; LIKE wildcards are literal."""
    assert [link.sequence for link in read.page(object="model:digits").items] == [2, 1]
    assert [link.sequence for link in read.page(object="model:x%").items] == [5]
    assert read.page(object="model:%").items == []
    assert [link.sequence for link in read.page(actor="cli").items] == [4, 2]
    assert [link.sequence for link in read.page(models=["digits_2"]).items] == [3]
    assert read.page(models=[]).items == []


def test_the_head_is_the_last_entry(read: AuditReader) -> None:
    """The head is the newest entry."""
    head = read.last_entry()
    assert head is not None
    assert head == read.page(limit=1).items[0]


def test_invalid_parameters_are_rejected(read: AuditReader) -> None:
    """An invalid cursor or limit is rejected with an error that names the field."""
    for cursor in ("x", "", "١", "9" * 19):
        with pytest.raises(FieldTypeError):
            read.page(cursor=cursor)
    with pytest.raises(FieldRangeError):
        read.page(limit=0)
