"""Keys that inputs are sealed with, wrapped by the master key; without its key, what was sealed is noise."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from relevo.store.db.tables.base import metadata

subject_keys = Table(
    "subject_keys",
    metadata,
    Column("id", Text, primary_key=True),  # 32 hex digits, what a sealed row names
    Column("subject", Text, nullable=False),  # pseudonym of the subject, or the day of what is about nobody named: "day:2026-03-01"
    Column("wrapped", LargeBinary),  # NULL: destroyed, and the row is the tombstone
    Column("master", Text, nullable=False),  # id of the master key that wraps it; "" of a tombstone that never was a key
    Column("made_us", BigInteger, nullable=False),
    Column("destroyed_us", BigInteger),
)
Index(None, subject_keys.c.subject, subject_keys.c.made_us)
