"""Request counts of each minute and each hour, by model and version; no personal data."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, Table, Text

from relevo.store.db.tables.base import metadata

traffic = Table(
    "traffic",
    metadata,
    Column("model", Text, primary_key=True),
    Column("step_s", Integer, primary_key=True, autoincrement=False),  # 60 or 3600: length of the interval
    Column("start_s", BigInteger, primary_key=True, autoincrement=False),  # seconds since 1970, a multiple of step_s
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("uncertain", BigInteger, nullable=False),
    Column("latency_us", BigInteger, nullable=False),  # sum over successful requests
    Column("confidence", Float, nullable=False),  # sum over successful requests
    Column("latencies", LargeBinary, nullable=False),  # histogram, bins of stats.histograms, little-endian 32-bit counts
    Column("confidences", LargeBinary, nullable=False),  # the same for the confidence
    # In SQLite the rows are stored in key order, in which they are read.
    sqlite_with_rowid=False,
)
