"""The database's own id, by which a home recognises it."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Older code does not look at it."""
    table = op.create_table(
        "database_identity",
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row", name="pk_database_identity"),
    )
    op.bulk_insert(table, [{"row": 1, "id": uuid.uuid4().hex}])
