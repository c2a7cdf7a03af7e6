"""Whose name it is: as it is written, or one that is the same by `domain.names.name_key`; and what the audit marks of a user."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, or_, select

from relevo.domain.names import name_key
from relevo.errors import NameTakenError
from relevo.store.db.tables import users

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Row, Select

    from relevo.store.audit.log import AuditLog


def plain(name: str) -> str:
    """The name as databases can be asked for it."""
    return unicodedata.normalize("NFKC", name).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def called(name: str) -> Select[Any]:
    """The one user who goes by this name, first who writes it so."""
    written = plain(name)
    return select(users).where(_is(name)).order_by(case((users.c.name == written, 0), else_=1)).limit(1)


def refuse_taken(connection: Connection, name: str, *, but: str = "") -> None:
    """See that nobody, or only the user of this id, goes by the name. Raises NameTakenError."""
    if connection.execute(select(users.c.id).where(_is(name), users.c.id != but)).first() is not None:
        raise NameTakenError


def _is(name: str) -> ColumnElement[bool]:
    return or_(users.c.name == plain(name), users.c.name_key == name_key(name))


def facts_of_user(row: Row[Any]) -> list[object]:
    """What a change by SQL could give to somebody else: name, account, and the hash of the password."""
    return ["user", row.id, row.name, row.name_key, row.issuer, row.subject, row.password_hash]


def mark_of_user(connection: Connection, audit: AuditLog, user: str) -> str:
    """The mark of a user as this transaction leaves them."""
    return audit.mark(facts_of_user(connection.execute(select(users).where(users.c.id == user)).one()))
