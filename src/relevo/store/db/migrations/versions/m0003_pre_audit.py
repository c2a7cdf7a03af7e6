"""The audit: a chain of rows that the database lets nobody change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TEXTS = ("actor", "action", "object", "before", "after", "reason", "address", "key", "previous", "seal")


def upgrade() -> None:
    """The function that refuses is there since the first step."""
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit"),
        sa.UniqueConstraint("previous", name="uq_audit_previous"),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    for act in ("UPDATE", "DELETE"):
        body = (
            "BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END" if sqlite else "FOR EACH ROW EXECUTE FUNCTION relevo_refuse()"
        )
        op.execute(f"CREATE TRIGGER audit_refuse_{act.lower()} BEFORE {act} ON audit {body}")
