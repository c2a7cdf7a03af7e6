"""Models, predictions and labels.

    models ◄─ versions ◄─ alias_moves      append-only: the last move of an alias says where it stands
    predictions ◄┄ labels                  no foreign key: a label may come before its prediction is shipped
    spool_positions                        how far each journal file was taken over, moved in the predictions' transaction

The one wide column, `input`, stands last: SQLite then reads the others without walking over it.
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
)

from relevo.store.tables.base import Serial, metadata

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
    Column("serial", Integer, nullable=False),  # 1, 2, … for each model and alias; a champion's is the route's epoch
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
    Column("input_sha256", Text),  # where a large input lies among the blobs
    Column("input", LargeBinary),
)
Index(None, predictions.c.model, predictions.c.id)
Index(None, predictions.c.model, predictions.c.version, predictions.c.id)
Index(None, predictions.c.model, predictions.c.label, predictions.c.id)
Index(None, predictions.c.label, predictions.c.id)
# Uncertain answers are few, so an index of them alone costs little and finds the first page at once.
_UNCERTAIN = predictions.c.uncertain.is_(True)
Index("ix_predictions_uncertain_id", predictions.c.id, sqlite_where=_UNCERTAIN, postgresql_where=_UNCERTAIN)
Index(
    "ix_predictions_uncertain_model_id",
    predictions.c.model,
    predictions.c.id,
    sqlite_where=_UNCERTAIN,
    postgresql_where=_UNCERTAIN,
)

labels = Table(
    "labels",
    metadata,
    Column("serial", Serial, primary_key=True),
    Column("prediction", LargeBinary(16), nullable=False),
    Column("value", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)
Index(None, labels.c.prediction, labels.c.serial)

spool_positions = Table(
    "spool_positions",
    metadata,
    Column("file", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
