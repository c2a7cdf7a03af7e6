"""One key a subject, for inputs that are sealed at rest and erased by destroying it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_NAMED = sa.text("subject IS NOT NULL")


def upgrade() -> None:
    """What is stored already stays as it is."""
    op.create_table(
        "subject_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("master", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("destroyed_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_subject_keys"),
    )
    op.create_index("ix_subject_keys_subject_made_us", "subject_keys", ["subject", "made_us"])
    op.add_column("predictions", sa.Column("input_key", sa.Text(), nullable=True))
    op.create_index("ix_predictions_subject", "predictions", ["subject"], sqlite_where=_NAMED, postgresql_where=_NAMED)
