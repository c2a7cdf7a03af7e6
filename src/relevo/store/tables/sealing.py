"""One key a subject, wrapped by the master key; without it what was sealed for the subject is noise."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from relevo.store.tables.base import metadata

subject_keys = Table(
    "subject_keys",
    metadata,
    Column("subject", Text, primary_key=True),  # pseudonym of the subject
    Column("wrapped", LargeBinary),  # NULL: destroyed, and the row is the tombstone
    Column("master", Text, nullable=False),  # id of the master key that wraps it
    Column("made_us", BigInteger, nullable=False),
    Column("destroyed_us", BigInteger),
)
