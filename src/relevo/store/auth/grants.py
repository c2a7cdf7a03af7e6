"""Per-model roles of users, in addition to their role for all models.

grants_by_user(connection, ids) ─► {user: {model: role}}          ids None: all users
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from relevo.domain.access import Role
from relevo.store.db.tables import grants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


def grants_by_user(connection: Connection, ids: Sequence[str] | None = None) -> dict[str, dict[str, Role]]:
    """Returns the grants by user and model, without users that have none. ids: of users, at most one page."""
    query = select(grants) if ids is None else select(grants).where(grants.c.user_id.in_(ids))
    result: dict[str, dict[str, Role]] = {}
    for row in connection.execute(query):
        result.setdefault(row.user_id, {})[row.model] = Role(row.role)
    return result
