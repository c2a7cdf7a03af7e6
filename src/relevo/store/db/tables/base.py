"""What every table shares: one collection, one way to name what is unnamed, one kind of counted number."""

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

#: A number given by the database; SQLite counts up only a column called INTEGER.
Serial = BigInteger().with_variant(Integer(), "sqlite")
