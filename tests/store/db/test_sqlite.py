"""SQLite files: write-ahead mode is required, and incomplete files are distinguished from damaged ones."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from relevo.errors import DatabaseCorruptError
from relevo.store.db import sqlite
from relevo.store.db.identity import DatabaseIdentity

if TYPE_CHECKING:
    from pathlib import Path

#: Writes to a database's log, then copies it into a file that may not grow, as when a full disk or a kill ends a checkpoint.
_ENDED_CHECKPOINT = """
import os, resource, signal, sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA journal_mode=WAL"), file.execute("PRAGMA wal_autocheckpoint=0")
file.execute("CREATE TABLE t (x BLOB)"), file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
file.execute("INSERT INTO t VALUES (randomblob(400000))")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]) + 3 * 4096, resource.RLIM_INFINITY))
try:
    file.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
except sqlite3.OperationalError:
    os._exit(3)
"""


def test_a_file_without_write_ahead_mode_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that silently stays in rollback mode is an error: there a reader blocks every writer."""
    monkeypatch.setattr(sqlite, "BUSY_S", 0.05)
    # Locks by dot files provide no shared memory, so there is no log either.
    with (
        sqlite3.connect(f"file:{tmp_path / 'relevo.db'}?vfs=unix-dotfile", uri=True, isolation_level=None) as connection,
        pytest.raises(sqlite3.OperationalError, match="log"),
    ):
        sqlite._switch_to_wal(connection)
    connection.close()


@pytest.fixture
def ended_early(tmp_path: Path) -> Path:
    """Creates a database whose first page states a length that only its log has."""
    path = tmp_path / "relevo.db"
    done = subprocess.run([sys.executable, "-c", _ENDED_CHECKPOINT, str(path)], check=False)
    assert done.returncode == 3, "the checkpoint was to fail"
    return path


@pytest.fixture
def identity(tmp_path: Path) -> DatabaseIdentity:
    """The identity of a home that knows its database."""
    identity = DatabaseIdentity(tmp_path, f"sqlite:///{tmp_path / 'relevo.db'}", begins=False)
    identity.keep("known")
    return identity


def test_a_checkpoint_that_ended_early_is_no_damage(ended_early: Path, identity: DatabaseIdentity) -> None:
    """Pages missing in the file are read from the log and copied at the next checkpoint."""
    head = ended_early.read_bytes()[:100]
    assert ended_early.stat().st_size < 4096 * int.from_bytes(head[28:32], "big")
    sqlite.validate_file(ended_early, identity)
    with sqlite3.connect(ended_early) as connection:
        assert connection.execute("SELECT length(x) FROM t").fetchall() == [(400000,)]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("left", [0, 32, 32 + 20 * (24 + 4096)])
def test_a_short_file_without_its_log_is_damaged(ended_early: Path, identity: DatabaseIdentity, left: int) -> None:
    """A short file is damaged if the log is missing or has only a part of the missing pages."""
    with ended_early.with_name("relevo.db-wal").open("r+b") as log:
        log.truncate(left)
    with pytest.raises(DatabaseCorruptError):
        sqlite.validate_file(ended_early, identity)
