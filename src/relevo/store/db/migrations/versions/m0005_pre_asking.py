"""What the label queue asked whom about, and how likely that was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Labels given before were asked for by nobody."""
    op.create_table(
        "asks",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("prediction", sa.LargeBinary(16), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("skipped_us", sa.BigInteger(), nullable=True),
        sa.Column("answered_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("serial", name="pk_asks"),
    )
    op.create_index("uq_asks_prediction_user_id", "asks", ["prediction", "user_id"], unique=True)
    op.create_index("ix_asks_user_id_serial", "asks", ["user_id", "serial"])
