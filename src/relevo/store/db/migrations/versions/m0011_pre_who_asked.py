"""Who asked for a prediction, who tried to sign in, and names that are one although they are written differently."""

from __future__ import annotations

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Whoever runs the older code goes on without these; a user whom it makes is found again once somebody changes their name."""
    op.add_column("predictions", sa.Column("asked_by", sa.Text(), nullable=True))
    op.create_index(
        "ix_predictions_asked_by",
        "predictions",
        ["model", "asked_by", "id", "version", "label", "uncertain", "truth"],
        sqlite_where=sa.text("asked_by IS NOT NULL"),
        postgresql_where=sa.text("asked_by IS NOT NULL"),
    )
    op.add_column("users", sa.Column("name_key", sa.Text(), nullable=True))
    _fold_names()
    op.create_index("uq_users_name_key", "users", ["name_key"], unique=True)
    op.create_table(
        "sign_in_attempts",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("name_mark", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("hour", sa.Text(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_sign_in_attempts"),
    )
    alike = ["address", "user_id", "name_mark", "reason", "hour"]
    op.create_index("uq_sign_in_attempts_alike", "sign_in_attempts", alike, unique=True)
    op.create_table(
        "sign_in_places",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "network", name="pk_sign_in_places"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sign_in_places_user_id"),
    )


def _fold_names() -> None:
    """Of users whose names are one by now, the first keeps it; the others are told apart by their ids, and keep what they have."""
    connection = op.get_bind()
    seen: set[str] = set()
    for user, name in connection.execute(sa.text("SELECT id, name FROM users ORDER BY made_us, id")).all():
        key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        key = f"{key} {user}" if key in seen else key
        seen.add(key)
        connection.execute(sa.text("UPDATE users SET name_key = :key WHERE id = :id"), {"key": key, "id": user})
