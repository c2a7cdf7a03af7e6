"""Which label counts stands beside its prediction, labels can be judged, and every page of the history is read off an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: So far the label given last counted, and nobody had judged any.
_LAST = sa.text(
    "UPDATE predictions SET truth = (SELECT value FROM labels WHERE labels.prediction = predictions.id "
    "ORDER BY serial DESC LIMIT 1) WHERE id IN (SELECT prediction FROM labels)"
)
_OLD = (
    "ix_predictions_model_id",
    "ix_predictions_model_version_id",
    "ix_predictions_model_label_id",
    "ix_predictions_label_id",
    "ix_predictions_uncertain_id",
    "ix_predictions_uncertain_model_id",
)
_NEW = (
    ("newest", ["model", "id", "version", "label", "uncertain", "truth"], None, None),
    ("version", ["model", "version", "id", "label", "uncertain", "truth"], None, None),
    ("label", ["model", "label", "id", "version", "uncertain", "truth"], None, None),
    ("uncertain", ["model", "id", "version", "label", "truth"], "uncertain IS 1", "uncertain IS true"),
    ("truth", ["model", "truth", "id", "version", "label", "uncertain"], "truth IS NOT NULL", "truth IS NOT NULL"),
    ("labelled", ["model", "id", "version", "label", "uncertain", "truth"], "truth IS NOT NULL", "truth IS NOT NULL"),
    ("disputed", ["model", "id"], "disputed IS 1", "disputed IS true"),
)


def upgrade() -> None:
    """Whoever runs the older code goes on without these, and its new rows begin without a truth."""
    op.add_column("predictions", sa.Column("truth", sa.Text(), nullable=True))
    op.add_column("predictions", sa.Column("disputed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(_LAST)
    for name in _OLD:
        op.drop_index(name, "predictions")
    for name, columns, sqlite, postgresql in _NEW:
        op.create_index(
            f"ix_predictions_{name}",
            "predictions",
            columns,
            sqlite_where=None if sqlite is None else sa.text(sqlite),
            postgresql_where=None if postgresql is None else sa.text(postgresql),
        )
    _judgements()


def _judgements() -> None:
    op.create_table(
        "judgements",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("label", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_judgements"),
    )
    op.create_index("ix_judgements_label_serial", "judgements", ["label", "serial"])
    op.create_table(
        "label_rule",
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row", name="pk_label_rule"),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    body = (
        "BEGIN SELECT RAISE(ABORT, 'judgements is append-only'); END" if sqlite else "FOR EACH ROW EXECUTE FUNCTION relevo_refuse()"
    )
    op.execute(f"CREATE TRIGGER judgements_refuse_update BEFORE UPDATE ON judgements {body}")
