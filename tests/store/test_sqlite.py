"""The store's file is in write-ahead mode, or it is not used."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from relevo.store import _sqlite

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_cannot_have_a_log_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite stays in its old mode without a word, in which a reader of the history stops every writer."""
    monkeypatch.setattr(_sqlite, "BUSY_S", 0.05)
    # With dot files for locks there is no shared memory, so there is no log either.
    with (
        sqlite3.connect(f"file:{tmp_path / 'relevo.db'}?vfs=unix-dotfile", uri=True, isolation_level=None) as connection,
        pytest.raises(sqlite3.OperationalError, match="log"),
    ):
        _sqlite._switch_to_wal(connection)
    connection.close()
