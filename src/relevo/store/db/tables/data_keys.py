"""Data keys that encrypt inputs, wrapped by the master key. Destroying a key makes its ciphertexts unreadable."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from relevo.store.db.tables.base import metadata

data_keys = Table(
    "data_keys",
    metadata,
    Column("id", Text, primary_key=True),  # 32 hex digits, stored in encrypted rows
    Column("subject", Text, nullable=False),  # pseudonym of the subject, or the day of records without one: "day:2026-03-01"
    Column("wrapped", LargeBinary),  # NULL: destroyed; the row is a tombstone
    Column("master", Text, nullable=False),  # id of the master key that wraps it; "" for a tombstone without a key
    Column("made_us", BigInteger, nullable=False),
    Column("destroyed_us", BigInteger),
)
Index(None, data_keys.c.subject, data_keys.c.made_us)
