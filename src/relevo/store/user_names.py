"""Whose name it is: as it is written, or one that is the same by `domain.names.name_key`."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, or_, select

from relevo.domain.names import name_key
from relevo.errors import NameTaken
from relevo.store.tables import users

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select


def plain(name: str) -> str:
    """The name as databases can be asked for it."""
    return unicodedata.normalize("NFKC", name).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def called(name: str) -> Select[Any]:
    """The one user who goes by this name, first who writes it so."""
    written = plain(name)
    return select(users).where(_is(name)).order_by(case((users.c.name == written, 0), else_=1)).limit(1)


def refuse_taken(connection: Connection, name: str, *, but: str = "") -> None:
    """See that nobody, or only the user of this id, goes by the name. Raises NameTaken."""
    if connection.execute(select(users.c.id).where(_is(name), users.c.id != but)).first() is not None:
        raise NameTaken


def _is(name: str) -> ColumnElement[bool]:
    return or_(users.c.name == plain(name), users.c.name_key == name_key(name))
