"""What users may do with single models, beside their role for all of them.

granted(connection, users) ─► {user: {model: role}}          users None: everybody
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from relevo.domain.access import Role
from relevo.store.db.tables import grants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


def grants_by_user(connection: Connection, some: Sequence[str] | None = None) -> dict[str, dict[str, Role]]:
    """By user and model; who has no grant is left out. some: ids of users, a page of them at most."""
    query = select(grants) if some is None else select(grants).where(grants.c.user_id.in_(some))
    found: dict[str, dict[str, Role]] = {}
    for row in connection.execute(query):
        found.setdefault(row.user_id, {})[row.model] = Role(row.role)
    return found
