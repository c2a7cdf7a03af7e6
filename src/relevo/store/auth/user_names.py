"""Lookup of users by name, also by names that `domain.names.name_key` makes equal, and the data of a user that the audit signs."""

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


def normalize_text(name: str) -> str:
    """Returns the name normalized and safe as a query parameter."""
    return unicodedata.normalize("NFKC", name).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def select_by_name(name: str) -> Select[Any]:
    """Selects the user with this name; an exact match comes first."""
    normalized = normalize_text(name)
    return select(users).where(_has_name(name)).order_by(case((users.c.name == normalized, 0), else_=1)).limit(1)


def check_name_free(connection: Connection, name: str, *, but: str = "") -> None:
    """Checks that no user, except the one with id `but`, has this name. Raises NameTakenError."""
    if connection.execute(select(users.c.id).where(_has_name(name), users.c.id != but)).first() is not None:
        raise NameTakenError


def _has_name(name: str) -> ColumnElement[bool]:
    return or_(users.c.name == normalize_text(name), users.c.name_key == name_key(name))


def signed_user_fields(row: Row[Any]) -> list[object]:
    """Returns what the audit signs of a user: the columns with which SQL could hand the account to another person."""
    return ["user", row.id, row.name, row.name_key, row.issuer, row.subject, row.password_hash]


def user_signature(connection: Connection, audit: AuditLog, user: str) -> str:
    """Returns the audit's signature of a user as stored in this transaction."""
    return audit.pseudonymize(signed_user_fields(connection.execute(select(users).where(users.c.id == user)).one()))
