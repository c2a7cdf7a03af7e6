"""How many requests there were in each minute and each hour, by model and version: counts alone, nothing of anybody."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, Table, Text

from relevo.store.db.tables.base import metadata

traffic = Table(
    "traffic",
    metadata,
    Column("model", Text, primary_key=True),
    Column("step_s", Integer, primary_key=True, autoincrement=False),  # 60 or 3600: how long one row's time is
    Column("start_s", BigInteger, primary_key=True, autoincrement=False),  # seconds since 1970, a multiple of step_s
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("uncertain", BigInteger, nullable=False),
    Column("latency_us", BigInteger, nullable=False),  # of all answered, together
    Column("confidence", Float, nullable=False),  # of all answered, together
    Column("latencies", LargeBinary, nullable=False),  # answered in each bin of stats.tallies, little-endian 32-bit numbers
    Column("confidences", LargeBinary, nullable=False),  # the same by confidence
    # In SQLite the rows lie in the order of their key, which is the order they are read in.
    sqlite_with_rowid=False,
)
