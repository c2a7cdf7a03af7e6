"""Items of the label queue: which prediction was assigned to whom, why, and with which propensity; estimates are weighted by it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, LargeBinary, Table, Text

from relevo.store.db.tables.base import Serial, metadata

label_queue = Table(
    "label_queue",
    metadata,
    Column("serial", Serial, primary_key=True),
    Column("prediction", LargeBinary(16), nullable=False),
    Column("model", Text, nullable=False),
    Column("user_id", Text, nullable=False),  # to whom it is assigned
    Column("why", Text, nullable=False),  # uncertain, disagreement, random
    Column("propensity", Float, nullable=False),  # 0..1
    Column("at_us", BigInteger, nullable=False),
    Column("skipped_us", BigInteger),
    Column("answered_us", BigInteger),  # this person gave a label
)
# Concurrent requests of one person assign a prediction once.
Index("uq_label_queue_prediction_user_id", label_queue.c.prediction, label_queue.c.user_id, unique=True)
Index(None, label_queue.c.user_id, label_queue.c.serial)
