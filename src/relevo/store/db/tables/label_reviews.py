"""What somebody thought of a label, and by which rule the label that counts was found."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from relevo.store.db.tables.base import Serial, metadata

judgements = Table(
    "judgements",
    metadata,
    Column("serial", Serial, primary_key=True),
    Column("label", BigInteger, nullable=False),  # its serial
    Column("verdict", Text, nullable=False),  # accepted, rejected; the last one counts
    Column("judge", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("sealed_reason", LargeBinary),  # then reason is ""
    Column("reason_key", Text),  # id in subject_keys
)
Index(None, judgements.c.label, judgements.c.serial)

#: One row: the rule that `predictions.truth` was last found by. Another one set means that all are found anew.
label_rule = Table(
    "label_rule",
    metadata,
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("rule", Text, nullable=False),
)
