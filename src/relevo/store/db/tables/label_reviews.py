"""Reviews of labels, and the rule that computes the resolved label."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from relevo.store.db.tables.base import Serial, metadata

label_reviews = Table(
    "label_reviews",
    metadata,
    Column("serial", Serial, primary_key=True),
    Column("label", BigInteger, nullable=False),  # serial of the label
    Column("verdict", Text, nullable=False),  # accepted, rejected; the last review applies
    Column("judge", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("encrypted_reason", LargeBinary),  # if set, reason is ""
    Column("reason_key", Text),  # id in data_keys
)
Index(None, label_reviews.c.label, label_reviews.c.serial)

#: Row 1: the current rule of `predictions.truth`. Row 2 exists while all truths are being recomputed by it.
label_aggregation = Table(
    "label_aggregation",
    metadata,
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("rule", Text, nullable=False),
)
