"""What the loop does beside shipping: heads of the audit go where they are told, and what fails there stops nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from tests.support.journal import prediction

from relevo.config import Settings
from relevo.domain.ids import new_id
from relevo.server.maintenance import checkpoint_thread, periodic_tasks
from relevo.server.stores import Store, checkpoint_writer, open_store, utc_now
from relevo.store.audit.checkpoints import FILE, load_checkpoints, read_heads
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
    store.registry.add(model="digits", digest="ab" * 32, summary={}, who="ana", at=utc_now())
    yield store
    store.engine.dispose()


@pytest.fixture
def trust(store: Store) -> Iterator[DatabaseTrust]:
    """What the background process knows of the store's file."""
    trust = DatabaseTrust(store.engine)
    yield trust
    trust.close()


@pytest.mark.parametrize("elsewhere", ["", "other/disk"])
def test_heads_go_where_they_are_told(tmp_path: Path, store: Store, trust: DatabaseTrust, elsewhere: str) -> None:
    """The setting audit_checkpoint_dir names their folder; without it they lie in the home. The last tick writes a head, too."""
    settings = Settings(home=tmp_path / "home", audit_checkpoint_dir=str(tmp_path / elsewhere) if elsewhere else "")
    ending = [chore for chore in periodic_tasks(settings, store, trust) if chore.at_the_end]
    for chore in ending:
        chore.run()
    folder = tmp_path / elsewhere if elsewhere else tmp_path / "home" / "audit"
    assert [head.sequence for head in read_heads(folder / FILE)] == [1]


def test_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, store: Store, trust: DatabaseTrust, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the loop goes on."""
    (tmp_path / "file").write_text("")
    for chore in periodic_tasks(Settings(home=tmp_path / "home", audit_checkpoint_dir=str(tmp_path / "file" / "x")), store, trust):
        chore.run()
    assert "audit.heads" in caplog.text


def test_what_is_kept_is_as_told(tmp_path: Path, store: Store, trust: DatabaseTrust) -> None:
    """retention_days removes what is older, max_input_storage_mb the oldest inputs; without them nothing is ever looked at."""
    plain = Settings(home=tmp_path / "home")
    for days, megabytes, left in ((0, 0, 3), (0, 1, 3), (1, 1, 2)):
        fresh = time.time_ns() // 1_000_000
        for ms in (fresh - 3 * 86_400_000, fresh - 1000, fresh) if not (days or megabytes) else ():
            store.history.record([prediction(700_000, id=new_id(ms), at_us=ms * 1000)])
        for chore in periodic_tasks(replace(plain, retention_days=days, max_input_storage_mb=megabytes), store, trust):
            chore.run()
        assert store.history.count() == left
        kept = sum(one.input_kept for one in store.history.window().items)
        assert kept == (3 if not megabytes else 1)


def test_minutes_of_traffic_are_forgotten(tmp_path: Path, store: Store, trust: DatabaseTrust) -> None:
    """What is older than a month is left by the hour alone."""
    at_us = time.time_ns() // 1000 - 40 * 86_400_000_000
    store.history.record([prediction(700_000, at_us=at_us)])
    for chore in periodic_tasks(Settings(home=tmp_path / "home"), store, trust):
        chore.run()
    with read_transaction(store.engine) as connection:
        assert [row.step_s for row in connection.execute(select(traffic.c.step_s))] == [3600]


def test_somebody_looks_however_long_shipping_takes() -> None:
    """The look goes on beside whatever the block does, begins with it, and ends after it with a last one."""
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
    """Something nobody foresaw is told in the log, and the next look is made all the same."""
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
    """The change is made all the same, the log says it once however often it is tried, and the next good look catches up."""
    (tmp_path / "file").write_text("")
    settings = Settings(home=tmp_path / "home", audit_checkpoint_dir=str(tmp_path / "file" / "x"))
    look = checkpoint_writer(settings, store.trail, store.audit)
    for _ in range(3):
        look()
    assert caplog.text.count("was not written down") == 1
    (tmp_path / "file").unlink()
    look()
    assert [head.sequence for head in load_checkpoints(tmp_path / "file" / "x")] == [1]
