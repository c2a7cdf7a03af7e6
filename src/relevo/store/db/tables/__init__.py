"""The schema as the queries see it; one for SQLite and PostgreSQL.

    core      models, versions, aliases, predictions, labels, how far journals were read
    people    users, their grants, sessions and keys, tries to sign in
    audit     who changed what: a chain that only grows
    sealing   one key a subject, and the tombstone of what was erased
    asking    which predictions somebody was asked about, and how likely that was
    judging   what somebody thought of a label, and by which rule the one that counts was found
    traffic   how many requests there were in each minute and hour

What a database really holds is made by `migrations/`; a test keeps the two alike. Moments are microseconds since 1970, UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from relevo.store.db.tables.audit import audit
from relevo.store.db.tables.base import metadata
from relevo.store.db.tables.core import alias_moves, database_identity, labels, models, predictions, spool_positions, versions
from relevo.store.db.tables.data_keys import subject_keys
from relevo.store.db.tables.label_queue import asks
from relevo.store.db.tables.label_reviews import judgements, label_rule
from relevo.store.db.tables.traffic import traffic
from relevo.store.db.tables.users import (
    api_keys,
    grants,
    hand_overs,
    people_epoch,
    sessions,
    sign_in_attempts,
    sign_in_failures,
    sign_in_journeys,
    sign_in_places,
    users,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = [
    "alias_moves",
    "api_keys",
    "asks",
    "audit",
    "create",
    "database_identity",
    "grants",
    "hand_overs",
    "judgements",
    "label_rule",
    "labels",
    "metadata",
    "models",
    "people_epoch",
    "predictions",
    "refusals",
    "sessions",
    "sign_in_attempts",
    "sign_in_failures",
    "sign_in_journeys",
    "sign_in_places",
    "spool_positions",
    "subject_keys",
    "traffic",
    "users",
    "versions",
]

#: What the database itself refuses. Labels may be deleted (with their prediction, or when a person asks), never changed.
REFUSALS = (
    ("alias_moves", "UPDATE"),
    ("alias_moves", "DELETE"),
    ("labels", "UPDATE"),
    ("judgements", "UPDATE"),
    ("audit", "UPDATE"),
    ("audit", "DELETE"),
)

_POSTGRES_REFUSE = """
CREATE OR REPLACE FUNCTION relevo_refuse() RETURNS trigger LANGUAGE plpgsql
AS 'BEGIN RAISE EXCEPTION ''% is append-only'', TG_TABLE_NAME; END'
"""


def create(connection: Connection) -> None:
    """The whole schema at once, for a database that lives in memory or in a test. Real ones are migrated."""
    metadata.create_all(connection)
    for statement in refusals(connection.dialect.name):
        connection.execute(text(statement))


def refusals(dialect: str) -> list[str]:
    """The statements that make the database refuse changes to what is append-only."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_refuse_{act.lower()} BEFORE {act} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table, act in REFUSALS
        ]
    return [
        _POSTGRES_REFUSE,
        *(
            f"CREATE TRIGGER {table}_refuse_{act.lower()} BEFORE {act} ON {table} FOR EACH ROW EXECUTE FUNCTION relevo_refuse()"
            for table, act in REFUSALS
        ),
    ]
