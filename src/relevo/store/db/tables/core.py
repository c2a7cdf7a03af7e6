"""Models, predictions and labels.

    models ◄─ versions ◄─ alias_moves      append-only: the last move of an alias is its current version
    predictions ◄┄ labels                  no foreign key: a label may arrive before its prediction is shipped
    spool_positions                        how far each journal file was read, updated in the transaction of the predictions

The only wide column, `input`, comes after those that a page shows: SQLite then reads these without reading the input.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from relevo.store.db.tables.base import Serial, metadata

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("summary", Text, nullable=False),  # JSON
    Column("who", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["model"], ["models.name"]),
    UniqueConstraint("model", "digest"),
)

alias_moves = Table(
    "alias_moves",
    metadata,
    Column("move", Serial, primary_key=True),
    Column("model", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("serial", Integer, nullable=False),  # 1, 2, … for each model and alias; of the champion: the route's epoch
    Column("version", Integer, nullable=False),
    Column("previous", Integer),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
    UniqueConstraint("model", "alias", "serial"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("arm", Text, nullable=False),
    Column("propensity", Float, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("label", Text),
    Column("confidence", Float),
    Column("uncertain", Boolean, nullable=False),
    Column("value", Float),
    Column("scores", LargeBinary, nullable=False),
    Column("latency_us", BigInteger, nullable=False),
    Column("error", Text),
    Column("subject", Text),
    Column("input_bytes", BigInteger, nullable=False),
    Column("input_sha256", Text),  # name of a large input in Blobs
    Column("input", LargeBinary),
    Column("input_key", Text),  # id in data_keys of an encrypted input; NULL: not encrypted
    # Computed from the labels whenever those change; read from an index, never from the row.
    Column("truth", Text),
    Column("disputed", Boolean, nullable=False, server_default=false()),
    Column("requested_by", Text),  # "key:…" or "user:…"; NULL without authentication
)
_SUBJECT = predictions.c.subject.is_not(None)
Index("ix_predictions_subject", predictions.c.subject, sqlite_where=_SUBJECT, postgresql_where=_SUBJECT)
# Every index contains all filter columns, so that no combination of filters reads the rows themselves.
_UNCERTAIN, _LABELLED = predictions.c.uncertain.is_(True), predictions.c.truth.is_not(None)
_DISPUTED = predictions.c.disputed.is_(True)
_MODEL, _ID, _VERSION = predictions.c.model, predictions.c.id, predictions.c.version
_LABEL, _TRUTH = predictions.c.label, predictions.c.truth
Index("ix_predictions_newest", _MODEL, _ID, _VERSION, _LABEL, predictions.c.uncertain, _TRUTH)
Index("ix_predictions_version", _MODEL, _VERSION, _ID, _LABEL, predictions.c.uncertain, _TRUTH)
Index("ix_predictions_label", _MODEL, _LABEL, _ID, _VERSION, predictions.c.uncertain, _TRUTH)
# These rows are few, so a partial index is small and finds the first page at once.
Index("ix_predictions_uncertain", _MODEL, _ID, _VERSION, _LABEL, _TRUTH, sqlite_where=_UNCERTAIN, postgresql_where=_UNCERTAIN)
for _name, _columns in (("truth", (_MODEL, _TRUTH, _ID)), ("labelled", (_MODEL, _ID))):
    _covered = [column for column in (_VERSION, _LABEL, predictions.c.uncertain, _TRUTH) if column not in _columns[1:2]]
    Index(f"ix_predictions_{_name}", *_columns, *_covered, sqlite_where=_LABELLED, postgresql_where=_LABELLED)
_ASKED_BY = predictions.c.requested_by.is_not(None)
Index(
    "ix_predictions_requested_by",
    *(_MODEL, predictions.c.requested_by, _ID, _VERSION, _LABEL, predictions.c.uncertain, _TRUTH),
    sqlite_where=_ASKED_BY,
    postgresql_where=_ASKED_BY,
)
Index("ix_predictions_disputed", _MODEL, _ID, sqlite_where=_DISPUTED, postgresql_where=_DISPUTED)

labels = Table(
    "labels",
    metadata,
    Column("serial", Serial, primary_key=True),
    Column("prediction", LargeBinary(16), nullable=False),
    Column("value", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("note", Text, nullable=False),  # "" when encrypted
    Column("encrypted_note", LargeBinary),
    Column("note_key", Text),  # id in data_keys
)
Index(None, labels.c.prediction, labels.c.serial)

spool_positions = Table(
    "spool_positions",
    metadata,
    Column("file", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

#: One row: the id by which a home identifies this database.
database_identity = Table(
    "database_identity",
    metadata,
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
)
