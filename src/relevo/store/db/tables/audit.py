"""Who changed what, when, from where: each row holds the hash of the one before. Append-only; the database refuses the rest."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from relevo.store.db.tables.base import metadata

audit = Table(
    "audit",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # a user's or key's id, never a name
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("before", Text, nullable=False),  # hash of what it was, "" when it was not
    Column("after", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("key", Text, nullable=False),  # id of the key of its seal
    Column("previous", Text, nullable=False, unique=True),  # so that no two rows follow one
    Column("seal", Text, nullable=False),
)
