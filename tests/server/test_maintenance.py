"""Periodic tasks of the background process: audit checkpoints, retention, and their errors."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from tests.support.journal import prediction

from relevo.config import Settings
from relevo.domain.ids import new_id
from relevo.server.checkpoint_export import checkpoint_writer
from relevo.server.maintenance import checkpoint_thread, periodic_tasks
from relevo.server.stores import Store, open_store, utc_now
from relevo.store.audit.checkpoints import FILE, load_checkpoints, read_checkpoints
from relevo.store.db.engine import read_transaction
from relevo.store.db.integrity import DatabaseTrust
from relevo.store.db.tables import traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A home with one change."""
    store = open_store(Settings(home=tmp_path / "home"))
    store.registry.add(model="digits", digest="ab" * 32, summary={}, author="ana", at=utc_now())
    yield store
    store.engine.dispose()


@pytest.fixture
def trust(store: Store) -> Iterator[DatabaseTrust]:
    """The trust state of the store's file in the background process."""
    trust = DatabaseTrust(store.engine)
    yield trust
    trust.close()


@pytest.mark.parametrize("elsewhere", ["", "other/disk"])
def test_heads_go_where_they_are_told(tmp_path: Path, store: Store, trust: DatabaseTrust, elsewhere: str) -> None:
    """Checkpoints go to audit_checkpoint_dir, by default to the home; the last tick saves one too."""
    settings = Settings(home=tmp_path / "home", audit_checkpoint_dir=str(tmp_path / elsewhere) if elsewhere else "")
    ending = [chore for chore in periodic_tasks(settings, store, trust) if chore.run_at_shutdown]
    for chore in ending:
        chore.run()
    folder = tmp_path / elsewhere if elsewhere else tmp_path / "home" / "audit"
    assert [head.sequence for head in read_checkpoints(folder / FILE)] == [1]


def test_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, store: Store, trust: DatabaseTrust, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that is not writable is logged, and the background process goes on."""
    (tmp_path / "file").write_text("")
    for chore in periodic_tasks(Settings(home=tmp_path / "home", audit_checkpoint_dir=str(tmp_path / "file" / "x")), store, trust):
        chore.run()
    assert "audit.heads" in caplog.text


def test_what_is_kept_is_as_told(tmp_path: Path, store: Store, trust: DatabaseTrust) -> None:
    """retention_days removes older predictions, max_input_storage_mb the oldest inputs; without them neither task exists."""
    plain = Settings(home=tmp_path / "home")
    for days, megabytes, left in ((0, 0, 3), (0, 1, 3), (1, 1, 2)):
        fresh = time.time_ns() // 1_000_000
        for ms in (fresh - 3 * 86_400_000, fresh - 1000, fresh) if not (days or megabytes) else ():
            store.predictions.insert([prediction(700_000, id=new_id(ms), at_us=ms * 1000)])
        for chore in periodic_tasks(replace(plain, retention_days=days, max_input_storage_mb=megabytes), store, trust):
            chore.run()
        assert store.predictions.count() == left
        kept = sum(one.input_kept for one in store.predictions.page().items)
        assert kept == (3 if not megabytes else 1)


def test_minutes_of_traffic_are_forgotten(tmp_path: Path, store: Store, trust: DatabaseTrust) -> None:
    """Traffic older than a month is kept per hour only."""
    at_us = time.time_ns() // 1000 - 40 * 86_400_000_000
    store.predictions.insert([prediction(700_000, at_us=at_us)])
    for chore in periodic_tasks(Settings(home=tmp_path / "home"), store, trust):
        chore.run()
    with read_transaction(store.engine) as connection:
        assert [row.step_s for row in connection.execute(select(traffic.c.step_s))] == [3600]


def test_somebody_looks_however_long_shipping_takes() -> None:
    """The thread calls the function at the start, periodically during the block, and once more at the end."""
    looks: list[float] = []
    with checkpoint_thread(lambda: looks.append(time.monotonic()), every_s=0.01):
        until = time.monotonic() + 5
        while len(looks) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        before = len(looks)
    assert before >= 4
    assert len(looks) > before
    ended = len(looks)
    time.sleep(0.05)
    assert len(looks) == ended


def test_a_look_that_fails_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is logged, and the function is called again."""
    looks: list[float] = []

    def look() -> None:
        looks.append(time.monotonic())
        if len(looks) == 1:
            raise KeyError("unforeseen")

    with checkpoint_thread(look, every_s=0.01):
        until = time.monotonic() + 5
        while len(looks) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert len(looks) >= 3
    assert caplog.text.count("a look failed") == 1


def test_a_head_that_cannot_be_written_is_told_once(tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The change is committed, the error is logged once, and the next successful call saves the checkpoint."""
    (tmp_path / "file").write_text("")
    settings = Settings(home=tmp_path / "home", audit_checkpoint_dir=str(tmp_path / "file" / "x"))
    look = checkpoint_writer(settings, store.audit_reader, store.audit)
    for _ in range(3):
        look()
    assert caplog.text.count("was not written down") == 1
    (tmp_path / "file").unlink()
    look()
    assert [head.sequence for head in load_checkpoints(tmp_path / "file" / "x")] == [1]
