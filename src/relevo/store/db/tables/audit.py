"""The audit log: each row contains the MAC of the previous one. Append-only, enforced by triggers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from relevo.store.db.tables.base import metadata

audit = Table(
    "audit",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # id of a user or key, never a name
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("before", Text, nullable=False),  # description before the change, "" when it did not exist
    Column("after", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("key", Text, nullable=False),  # id of the key of the MAC
    Column("previous", Text, nullable=False, unique=True),  # MAC of the previous row; unique, so that the chain cannot fork
    Column("mac", Text, nullable=False),  # MAC of this row
)
