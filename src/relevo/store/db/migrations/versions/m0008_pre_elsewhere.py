"""Sign-ins begun at an identity provider and not come back yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Whoever runs the older code does not look at it."""
    op.create_table(
        "sign_in_journeys",
        sa.Column("state_hash", sa.Text(), nullable=False),
        sa.Column("tie_hash", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("back", sa.Text(), nullable=False),
        sa.Column("begun_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name="pk_sign_in_journeys"),
    )
    op.create_index("ix_sign_in_journeys_address", "sign_in_journeys", ["address"])
    op.create_index("ix_sign_in_journeys_begun_us", "sign_in_journeys", ["begun_us"])
