"""What people write about predictions may be sealed, as inputs are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Whoever runs the older code goes on, and reads an empty note where one is sealed."""
    for table, column in (("labels", "note"), ("judgements", "reason")):
        op.add_column(table, sa.Column(f"sealed_{column}", sa.LargeBinary(), nullable=True))
        op.add_column(table, sa.Column(f"{column}_key", sa.Text(), nullable=True))
