"""Metadata shared by all tables: naming conventions, and the type of serial numbers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: A serial number assigned by the database; SQLite assigns one only to a column of type INTEGER.
Serial = BigInteger().with_variant(Integer(), "sqlite")
