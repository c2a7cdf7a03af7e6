"""Creates the schema of the first release: all tables, their indexes and the triggers that keep four tables append-only."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COVERED = ["label", "uncertain", "truth"]
_PREDICTION_INDEXES = (
    ("newest", ["model", "id", "version", *_COVERED], None, None),
    ("version", ["model", "version", "id", *_COVERED], None, None),
    ("label", ["model", "label", "id", "version", "uncertain", "truth"], None, None),
    ("uncertain", ["model", "id", "version", "label", "truth"], "uncertain IS 1", "uncertain IS true"),
    ("truth", ["model", "truth", "id", "version", "label", "uncertain"], "truth IS NOT NULL", "truth IS NOT NULL"),
    ("labelled", ["model", "id", "version", *_COVERED], "truth IS NOT NULL", "truth IS NOT NULL"),
    ("disputed", ["model", "id"], "disputed IS 1", "disputed IS true"),
    ("requested_by", ["model", "requested_by", "id", "version", *_COVERED], "requested_by IS NOT NULL", "requested_by IS NOT NULL"),
    ("subject", ["subject"], "subject IS NOT NULL", "subject IS NOT NULL"),
)
_AUDIT_TEXTS = ("actor", "action", "object", "before", "after", "reason", "address", "key", "previous", "mac")
_REFUSALS = (
    ("alias_moves", "UPDATE"),
    ("alias_moves", "DELETE"),
    ("labels", "UPDATE"),
    ("judgements", "UPDATE"),
    ("audit", "UPDATE"),
    ("audit", "DELETE"),
)


def upgrade() -> None:
    """Expects an empty database."""
    _create_registry()
    _create_predictions()
    _create_labels()
    _create_label_queue()
    _create_users()
    _create_credentials()
    _create_login_throttling()
    _create_login_redirects()
    _create_audit()
    _create_encryption_keys()
    _create_traffic()
    _create_identity()
    _create_refusals()


def _create_registry() -> None:
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


def _create_predictions() -> None:
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
        sa.Column("input_key", sa.Text(), nullable=True),
        sa.Column("truth", sa.Text(), nullable=True),
        sa.Column("disputed", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
    )
    for name, columns, sqlite, postgresql in _PREDICTION_INDEXES:
        op.create_index(
            f"ix_predictions_{name}",
            "predictions",
            columns,
            sqlite_where=None if sqlite is None else sa.text(sqlite),
            postgresql_where=None if postgresql is None else sa.text(postgresql),
        )
    op.create_table(
        "spool_positions",
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("file", name="pk_spool_positions"),
    )


def _create_labels() -> None:
    op.create_table(
        "labels",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("prediction", sa.LargeBinary(16), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("encrypted_note", sa.LargeBinary(), nullable=True),
        sa.Column("note_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("serial", name="pk_labels"),
    )
    op.create_index("ix_labels_prediction_serial", "labels", ["prediction", "serial"])
    op.create_table(
        "judgements",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("label", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("encrypted_reason", sa.LargeBinary(), nullable=True),
        sa.Column("reason_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("serial", name="pk_judgements"),
    )
    op.create_index("ix_judgements_label_serial", "judgements", ["label", "serial"])
    op.create_table(
        "label_rule",
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row", name="pk_label_rule"),
    )


def _create_label_queue() -> None:
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


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("disabled_us", sa.BigInteger(), nullable=True),
        sa.Column("name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_index("uq_users_name_key", "users", ["name_key"], unique=True)
    op.create_index("uq_users_issuer_subject", "users", ["issuer", "subject"], unique=True)
    op.create_table(
        "grants",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "model", name="pk_grants"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_grants_user_id"),
    )
    op.create_table(
        "people_epoch",
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("row", name="pk_people_epoch"),
    )


def _create_credentials() -> None:
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("secret_hash", name="uq_api_keys_secret_hash"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id"),
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])


def _create_login_throttling() -> None:
    op.create_table(
        "sign_in_failures",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("name_hash", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_sign_in_failures"),
    )
    op.create_index("ix_sign_in_failures_name_hash_at_us", "sign_in_failures", ["name_hash", "at_us"])
    op.create_index("ix_sign_in_failures_address_at_us", "sign_in_failures", ["address", "at_us"])
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
    group = ["address", "user_id", "name_mark", "reason", "hour"]
    op.create_index("uq_sign_in_attempts_alike", "sign_in_attempts", group, unique=True)
    op.create_table(
        "sign_in_places",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "network", name="pk_sign_in_places"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sign_in_places_user_id"),
    )


def _create_login_redirects() -> None:
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


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _AUDIT_TEXTS),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit"),
        sa.UniqueConstraint("previous", name="uq_audit_previous"),
    )


def _create_encryption_keys() -> None:
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


def _create_traffic() -> None:
    op.create_table(
        "traffic",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("step_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start_s", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("uncertain", sa.BigInteger(), nullable=False),
        sa.Column("latency_us", sa.BigInteger(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("latencies", sa.LargeBinary(), nullable=False),
        sa.Column("confidences", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model", "step_s", "start_s", "version", name="pk_traffic"),
        sqlite_with_rowid=False,
    )


def _create_identity() -> None:
    table = op.create_table(
        "database_identity",
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row", name="pk_database_identity"),
    )
    op.bulk_insert(table, [{"row": 1, "id": uuid.uuid4().hex}])


def _create_refusals() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute(
            "CREATE FUNCTION relevo_refuse() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN RAISE EXCEPTION ''% is append-only'', TG_TABLE_NAME; END'"
        )
    for table, operation in _REFUSALS:
        body = (
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            if sqlite
            else "FOR EACH ROW EXECUTE FUNCTION relevo_refuse()"
        )
        op.execute(f"CREATE TRIGGER {table}_refuse_{operation.lower()} BEFORE {operation} ON {table} {body}")
