"""The database schema as SQLAlchemy tables; one for SQLite and PostgreSQL.

    core            models, versions, alias moves, predictions, labels, journal positions
    users           users, their grants, sessions, API keys and failed logins
    audit           the hash-chained audit log
    data_keys       encryption keys of subjects, and the tombstones of erased ones
    label_queue     which predictions were assigned for labelling, and with which propensity
    label_reviews   reviews of labels, and the current aggregation rule
    traffic         request counts by minute and hour

Real databases are created by `migrations/`; a test compares both. Times are microseconds since 1970, UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from relevo.store.db.tables.audit import audit
from relevo.store.db.tables.base import metadata
from relevo.store.db.tables.core import alias_moves, database_identity, labels, models, predictions, spool_positions, versions
from relevo.store.db.tables.data_keys import data_keys
from relevo.store.db.tables.label_queue import label_queue
from relevo.store.db.tables.label_reviews import label_aggregation, label_reviews
from relevo.store.db.tables.traffic import traffic
from relevo.store.db.tables.users import (
    access_revision,
    api_keys,
    grants,
    login_codes,
    oidc_login_attempts,
    sessions,
    sign_in_attempts,
    sign_in_failures,
    sign_in_places,
    users,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = [
    "access_revision",
    "alias_moves",
    "api_keys",
    "audit",
    "create",
    "data_keys",
    "database_identity",
    "grants",
    "label_aggregation",
    "label_queue",
    "label_reviews",
    "labels",
    "login_codes",
    "metadata",
    "models",
    "oidc_login_attempts",
    "predictions",
    "refusals",
    "sessions",
    "sign_in_attempts",
    "sign_in_failures",
    "sign_in_places",
    "spool_positions",
    "traffic",
    "users",
    "versions",
]

#: Statements that triggers reject. Labels may be deleted (with their prediction, or on request), never changed.
REFUSALS = (
    ("alias_moves", "UPDATE"),
    ("alias_moves", "DELETE"),
    ("labels", "UPDATE"),
    ("label_reviews", "UPDATE"),
    ("audit", "UPDATE"),
    ("audit", "DELETE"),
)

_POSTGRES_REFUSE = """
CREATE OR REPLACE FUNCTION relevo_refuse() RETURNS trigger LANGUAGE plpgsql
AS 'BEGIN RAISE EXCEPTION ''% is append-only'', TG_TABLE_NAME; END'
"""


def create(connection: Connection) -> None:
    """Creates the whole schema without migrations, for a database in memory or in a test."""
    metadata.create_all(connection)
    for statement in refusals(connection.dialect.name):
        connection.execute(text(statement))


def refusals(dialect: str) -> list[str]:
    """Returns the statements that create the triggers of the append-only tables."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_refuse_{operation.lower()} BEFORE {operation} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table, operation in REFUSALS
        ]
    return [
        _POSTGRES_REFUSE,
        *(
            f"CREATE TRIGGER {table}_refuse_{operation.lower()} BEFORE {operation} ON {table} FOR EACH ROW EXECUTE FUNCTION relevo_refuse()"
            for table, operation in REFUSALS
        ),
    ]
