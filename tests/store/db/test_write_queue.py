"""The fair write lock: writers of one SQLite file get their turn soon, whatever another one writes."""

from __future__ import annotations

import errno
import fcntl
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from relevo.store.db.engine import connect, migrate, write_transaction
from relevo.store.db.write_queue import write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

_LASTS_S = 0.06
_TOUCH = text("INSERT INTO spool_positions (file, position) VALUES (:file, 1) ON CONFLICT DO NOTHING")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    migrate(connect(f"sqlite:///{tmp_path / 'relevo.db'}"))
    return tmp_path / "relevo.db"


@contextmanager
def _writing_without_rest(engine: Engine) -> Iterator[None]:
    """Writes transactions back to back, as when a long backlog is shipped."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with write_transaction(engine) as connection:
                connection.execute(_TOUCH, {"file": "backlog"})
                time.sleep(_LASTS_S)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_busy_writer_does_not_starve_others(file: Path) -> None:
    """Each of many short writes waits for a few transactions of the backlog at most."""
    busy, other = (connect(f"sqlite:///{file}") for _ in range(2))
    waits = []
    with _writing_without_rest(busy):
        for number in range(10):
            begin = time.monotonic()
            with write_transaction(other) as connection:
                connection.execute(_TOUCH, {"file": str(number)})
            waits.append(time.monotonic() - begin)
            time.sleep(0.01)
    assert sorted(waits)[-2] < 8 * _LASTS_S, f"waited {waits}"


def test_a_held_lock_delays_only_until_the_timeout(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process stopped while it holds the lock delays others only until the timeout; SQLite's own lock is decisive."""
    monkeypatch.setattr("relevo.store.db.sqlite.BUSY_S", 0.2)
    with file.with_name("relevo.db-turn").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with write_transaction(connect(f"sqlite:///{file}")) as connection:
            connection.execute(_TOUCH, {"file": "mine"})


def test_without_file_locks_a_write_begins_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without locks a write begins at once, with SQLite's own lock only."""

    def refuse(_handle: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    begin = time.monotonic()
    with write_lock(file, patience_s=5):
        assert time.monotonic() - begin < 1
