"""Migrations: they produce the schema of the tables, from an empty database, also concurrently, and leave logging unchanged."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import inspect, text

from relevo.errors import DatabaseSchemaTooNewError
from relevo.store.db import migrations
from relevo.store.db.engine import connect, migrate, read_transaction, write_transaction
from relevo.store.db.migrations import HEAD
from relevo.store.db.tables import create

if TYPE_CHECKING:
    from sqlalchemy import Engine

VERSIONS = Path(migrations.__file__).parent / "versions"
TRIGGERS = {
    "sqlite": "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY 1",
    "postgresql": (
        "SELECT tgname, tgrelid::regclass::text, pg_get_triggerdef(t.oid) || p.prosrc FROM pg_trigger t "
        "JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT tgisinternal ORDER BY 1"
    ),
}
INDEXES = {
    "sqlite": "SELECT name, replace(replace(sql, '\"', ''), '  ', ' ') FROM sqlite_master WHERE type = 'index' ORDER BY 1",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
}


def schema(engine: Engine) -> dict[str, Any]:
    """Describes everything in the database except Alembic's table."""
    inspector = inspect(engine)
    tables = [name for name in inspector.get_table_names() if name != "alembic_version"]
    described: dict[str, Any] = {
        name: {
            "columns": [column | {"type": repr(column["type"])} for column in inspector.get_columns(name)],
            "primary": inspector.get_pk_constraint(name),
            "foreign": inspector.get_foreign_keys(name),
            "unique": sorted(inspector.get_unique_constraints(name), key=str),
            "checks": inspector.get_check_constraints(name),
        }
        for name in tables
    }
    with read_transaction(engine) as connection:
        for kind, query in (("triggers", TRIGGERS), ("indexes", INDEXES)):
            rows = connection.execute(text(query[engine.dialect.name])).all()
            described[kind] = [tuple(row) for row in rows if "alembic" not in row[0]]
    return described


class TestMigrations:
    """The contract of the migrations."""

    def test_fresh_equals_migrated(self, engine: Engine, empty_url: str) -> None:
        """A migrated database has the same schema as one created from the tables' metadata."""
        fresh = connect(empty_url)
        with write_transaction(fresh) as connection:
            create(connection)
        assert schema(fresh) == schema(engine)
        assert len(schema(fresh)["triggers"]) == 6
        fresh.dispose()

    def test_a_migrated_database_is_at_head(self, engine: Engine) -> None:
        """After a migration the database is at this release's newest revision."""
        with read_transaction(engine) as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD

    def test_several_processes_migrate_at_once(self, empty_url: str) -> None:
        """Workers that start together on an empty database all end with the same schema and no error."""
        engines = [connect(empty_url) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(migrate, engines))
        assert set(schema(engines[0])) >= {"models", "predictions", "labels"}
        for engine in engines:
            engine.dispose()

    def test_a_later_schema_is_left_alone(self, engine: Engine) -> None:
        """An old process that starts after a newer release has migrated changes nothing."""
        with write_transaction(engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        before = schema(engine)
        with pytest.raises(DatabaseSchemaTooNewError):
            migrate(engine)
        assert schema(engine) == before

    def test_a_migration_that_fails_leaves_nothing(self, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A failed migration is rolled back completely, and the next start runs it."""
        engine = connect(empty_url)
        monkeypatch.setattr("alembic.op.bulk_insert", lambda *_args, **_facts: 1 / 0)
        try:
            migrate(engine)
        except ZeroDivisionError:
            failed = True
        assert failed
        assert inspect(engine).get_table_names() == []
        monkeypatch.undo()
        migrate(engine)
        engine.dispose()

    def test_logging_stays_as_it_was(self, empty_url: str) -> None:
        """A migration adds no handler, changes no level and disables no logger."""
        application_logger = logging.getLogger("somebody.else")

        def state() -> tuple[Any, ...]:
            loggers = (
                logging.getLogger(),
                logging.getLogger("alembic"),
                logging.getLogger("sqlalchemy.engine"),
                application_logger,
            )
            return tuple((logger.level, list(logger.handlers), logger.disabled, logger.propagate) for logger in loggers)

        engine = connect(empty_url)
        before = state()
        migrate(engine)
        engine.dispose()
        assert state() == before


def test_migrations_are_numbered() -> None:
    """Every migration's name says whether it runs before or after the new code starts, and the last one is HEAD."""
    names = sorted(path.stem for path in VERSIONS.glob("*.py") if path.stem != "__init__")
    assert all(re.fullmatch(r"m\d{4}_(pre|post)_[a-z_]+", name) for name in names)
    assert [name[1:5] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    assert names[-1][1:5] == HEAD


def test_migrations_import_nothing_of_relevo() -> None:
    """Migrations import nothing of Relevo, so that they stay valid when the tables change."""
    for path in VERSIONS.glob("m*.py"):
        assert "relevo" not in re.findall(r"^(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
