"""Codes by which a console gets the session of somebody who has just signed in elsewhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Whoever runs the older code does not look at it."""
    op.create_table(
        "hand_overs",
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("console", sa.Text(), nullable=False),
        sa.Column("challenge", sa.Text(), nullable=False),
        sa.Column("issued_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code_hash", name="pk_hand_overs"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_hand_overs_user_id"),
    )
    op.create_index("ix_hand_overs_issued_us", "hand_overs", ["issued_us"])
