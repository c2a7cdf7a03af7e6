"""Creates the schema of the first release: all tables, their indexes and the triggers that keep four tables append-only."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "bigint": sa.BigInteger(),
    "bool": sa.Boolean(),
    "bytes": sa.LargeBinary(),
    "float": sa.Float(),
    "id": sa.LargeBinary(16),
    "int": sa.Integer(),
    "serial": sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
    "text": sa.Text(),
}
#: The columns of each table: name and type; * marks the primary key, ? a column that may be NULL.
_TABLES = {
    "models": "name text*, at_us bigint",
    "versions": "model text*, number int*, digest text, summary text, who text, at_us bigint",
    "alias_moves": "move serial*, model text, alias text, serial int, version int, previous int?, who text, why text, at_us bigint",
    "predictions": "id id*, at_us bigint, model text, version int, arm text, propensity float, epoch int, kind text, label text?, "
    "confidence float?, uncertain bool, value float?, scores bytes, latency_us bigint, error text?, subject text?, "
    "input_bytes bigint, input_sha256 text?, input bytes?, input_key text?, truth text?, disputed bool, requested_by text?",
    "spool_positions": "file text*, position bigint",
    "labels": "serial serial*, prediction id, value text, author text, source text, at_us bigint, note text, encrypted_note bytes?, "
    "note_key text?",
    "label_reviews": "serial serial*, label bigint, verdict text, judge text, reason text, at_us bigint, encrypted_reason bytes?, "
    "reason_key text?",
    "label_aggregation": "row int*, rule text",
    "label_queue": "serial serial*, prediction id, model text, user_id text, why text, propensity float, at_us bigint, "
    "skipped_us bigint?, answered_us bigint?",
    "users": "id text*, name text, role text?, password_hash text?, issuer text?, subject text?, made_us bigint, "
    "disabled_us bigint?, name_key text?",
    "grants": "user_id text*, model text*, role text",
    "access_revision": "row int*, epoch bigint",
    "sessions": "token_hash text*, user_id text, made_us bigint, seen_us bigint, ends_us bigint",
    "api_keys": "id text*, user_id text, name text, secret_hash text, scopes text, model text?, made_us bigint, ends_us bigint?, "
    "revoked_us bigint?",
    "sign_in_failures": "serial serial*, name_hash text, address text, at_us bigint",
    "sign_in_attempts": "serial serial*, user_id text, name_mark text, address text, reason text, hour text, tries bigint, "
    "first_us bigint, last_us bigint",
    "sign_in_places": "user_id text*, network text*, last_us bigint",
    "oidc_login_attempts": "state_hash text*, tie_hash text, address text, back text, begun_us bigint",
    "login_codes": "code_hash text*, user_id text, console text, challenge text, issued_us bigint",
    "audit": "sequence bigint*, at_us bigint, actor text, action text, object text, before text, after text, reason text, "
    "address text, key text, previous text, mac text",
    "data_keys": "id text*, subject text, wrapped bytes?, master text, made_us bigint, destroyed_us bigint?",
    "traffic": "model text*, step_s int*, start_s bigint*, version int*, requests bigint, errors bigint, uncertain bigint, "
    "latency_us bigint, confidence float, latencies bytes, confidences bytes",
    "database_identity": "row int*, id text",
}
_UNIQUE = {
    "versions": "model, digest",
    "alias_moves": "model, alias, serial",
    "users": "name",
    "api_keys": "secret_hash",
    "audit": "previous",
}
_REFERENCES = {
    "versions": {"model": "models.name"},
    "alias_moves": {"model": "versions.model", "version": "versions.number"},
    **{key: {"user_id": "users.id"} for key in ("grants", "sessions", "api_keys", "sign_in_places", "login_codes")},
}
#: Table and columns; the names follow the convention below.
_INDEXES = (
    ("labels", "prediction, serial"),
    ("label_reviews", "label, serial"),
    ("label_queue", "user_id, serial"),
    ("sessions", "user_id"),
    ("api_keys", "user_id"),
    ("sign_in_failures", "name_hash, at_us"),
    ("sign_in_failures", "address, at_us"),
    ("oidc_login_attempts", "address"),
    ("oidc_login_attempts", "begun_us"),
    ("login_codes", "issued_us"),
    ("data_keys", "subject, made_us"),
)
_UNIQUE_INDEXES = (
    ("uq_label_queue_prediction_user_id", "label_queue", "prediction, user_id"),
    ("uq_users_name_key", "users", "name_key"),
    ("uq_users_issuer_subject", "users", "issuer, subject"),
    ("uq_sign_in_attempts_alike", "sign_in_attempts", "address, user_id, name_mark, reason, hour"),
)
#: Name, columns, and the condition of a partial index; IS 1 is SQLite's IS true.
_PREDICTION_INDEXES = (
    ("newest", "model, id, version, label, uncertain, truth", ""),
    ("version", "model, version, id, label, uncertain, truth", ""),
    ("label", "model, label, id, version, uncertain, truth", ""),
    ("uncertain", "model, id, version, label, truth", "uncertain IS true"),
    ("truth", "model, truth, id, version, label, uncertain", "truth IS NOT NULL"),
    ("labelled", "model, id, version, label, uncertain, truth", "truth IS NOT NULL"),
    ("disputed", "model, id", "disputed IS true"),
    ("requested_by", "model, requested_by, id, version, label, uncertain, truth", "requested_by IS NOT NULL"),
    ("subject", "subject", "subject IS NOT NULL"),
)
_REFUSALS = (
    ("alias_moves", "UPDATE"),
    ("alias_moves", "DELETE"),
    ("labels", "UPDATE"),
    ("label_reviews", "UPDATE"),
    ("audit", "UPDATE"),
    ("audit", "DELETE"),
)


def upgrade() -> None:
    """Expects an empty database."""
    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    for name, columns in _TABLES.items():
        _add_table(metadata, name, columns)
    for table, columns in _INDEXES:
        _add_index(metadata.tables[table], None, columns)
    for name, table, columns in _UNIQUE_INDEXES:
        _add_index(metadata.tables[table], name, columns, unique=True)
    for name, columns, condition in _PREDICTION_INDEXES:
        _add_index(metadata.tables["predictions"], f"ix_predictions_{name}", columns, condition)
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.bulk_insert(metadata.tables["database_identity"], [{"row": 1, "id": uuid.uuid4().hex}])
    _create_refusals()


def _add_table(metadata: sa.MetaData, name: str, columns: str) -> None:
    table = sa.Table(name, metadata, *map(_column, columns.split(", ")), sqlite_with_rowid=name != "traffic")
    if name in _UNIQUE:
        table.append_constraint(sa.UniqueConstraint(*_UNIQUE[name].split(", ")))
    if references := _REFERENCES.get(name):
        table.append_constraint(sa.ForeignKeyConstraint(list(references), list(references.values())))


def _column(text: str) -> sa.Column[Any]:
    name, kind = text.split()
    default = sa.false() if name == "disputed" else None
    return sa.Column(
        name,
        _TYPES[kind.rstrip("*?")],
        primary_key=kind.endswith("*"),
        nullable=kind.endswith("?"),
        autoincrement=kind == "serial*",
        server_default=default,
    )


def _add_index(table: sa.Table, name: str | None, columns: str, condition: str = "", *, unique: bool = False) -> None:
    sqlite, postgresql = (sa.text(text) if text else None for text in (condition.replace("IS true", "IS 1"), condition))
    sa.Index(
        name, *(table.c[column] for column in columns.split(", ")), unique=unique, sqlite_where=sqlite, postgresql_where=postgresql
    )


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
