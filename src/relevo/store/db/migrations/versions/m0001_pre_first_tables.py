"""The first tables: models, versions, alias moves, predictions, labels, spool positions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Nothing was here before."""
    _registry()
    _predictions()
    _prediction_indexes()
    _labels()
    op.create_table(
        "spool_positions",
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("file", name="pk_spool_positions"),
    )
    _refuse_changes()


def _registry() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_models"),
    )
    op.create_table(
        "versions",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "number", name="pk_versions"),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_versions_model"),
        sa.UniqueConstraint("model", "digest", name="uq_versions_model_digest"),
    )
    op.create_table(
        "alias_moves",
        sa.Column("move", _SERIAL, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("move", name="pk_alias_moves"),
        sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"], name="fk_alias_moves_model_version"),
        sa.UniqueConstraint("model", "alias", "serial", name="uq_alias_moves_model_alias_serial"),
    )


def _predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("uncertain", sa.Boolean(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.Column("latency_us", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("input_bytes", sa.BigInteger(), nullable=False),
        sa.Column("input_sha256", sa.Text(), nullable=True),
        sa.Column("input", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
    )


def _prediction_indexes() -> None:
    op.create_index("ix_predictions_model_id", "predictions", ["model", "id"])
    op.create_index("ix_predictions_model_version_id", "predictions", ["model", "version", "id"])
    op.create_index("ix_predictions_model_label_id", "predictions", ["model", "label", "id"])
    op.create_index("ix_predictions_label_id", "predictions", ["label", "id"])
    for name, columns in (("ix_predictions_uncertain_id", ["id"]), ("ix_predictions_uncertain_model_id", ["model", "id"])):
        op.create_index(
            name,
            "predictions",
            columns,
            sqlite_where=sa.text("uncertain IS 1"),
            postgresql_where=sa.text("uncertain IS true"),
        )


def _labels() -> None:
    op.create_table(
        "labels",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("prediction", sa.LargeBinary(16), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_labels"),
    )
    op.create_index("ix_labels_prediction_serial", "labels", ["prediction", "serial"])


def _refuse_changes() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute(
            "CREATE FUNCTION relevo_refuse() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN RAISE EXCEPTION ''% is append-only'', TG_TABLE_NAME; END'"
        )
    for table, act in (("alias_moves", "UPDATE"), ("alias_moves", "DELETE"), ("labels", "UPDATE")):
        body = (
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            if sqlite
            else "FOR EACH ROW EXECUTE FUNCTION relevo_refuse()"
        )
        op.execute(f"CREATE TRIGGER {table}_refuse_{act.lower()} BEFORE {act} ON {table} {body}")
