"""The journal reader: every committed batch once and in order; an unreadable file does not block the others."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.support.journal import ids_in, prediction, small_disk

from relevo.recording.journal import LOCK, Journal, JournalLimits
from relevo.recording.reader import JournalFile, JournalReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def journal(spool: Path) -> Iterator[Journal]:
    created = Journal(spool / "a-worker", limits=JournalLimits(rotate_bytes=3000))
    yield created
    created.close()


def test_without_a_journal_folder_there_are_no_files(tmp_path: Path) -> None:
    """A home that never served has no journals."""
    reader = JournalReader(tmp_path / "nothing")
    assert reader.files() == []
    reader.remove_empty_folders()


def test_files_come_oldest_first_within_each_worker(spool: Path, journal: Journal) -> None:
    """Each worker's files come in the order they were written; only the last file of a live worker may still grow."""
    other = Journal(spool / "b-worker")
    for _ in range(7):
        journal.write([prediction(1000)])
    other.write([prediction()])
    listed = [(file.name, file.finished) for file in JournalReader(spool).files()]
    other.close()
    assert listed == [
        ("a-worker/00000001.journal", True),
        ("a-worker/00000002.journal", True),
        ("a-worker/00000003.journal", False),
        ("b-worker/00000001.journal", False),
    ]


def test_reading_goes_on_after_a_position(spool: Path, journal: Journal) -> None:
    """Batches up to the position are skipped; later ones come in order with their numbers."""
    batches = [[prediction()] for _ in range(5)]
    for batch in batches:
        journal.write(batch)
    reader = JournalReader(spool)
    read = reader.read(reader.files()[0], after=2)
    assert [batch.number for batch in read] == [3, 4, 5]
    assert [batch.predictions for batch in read] == batches[2:]
    assert reader.read(reader.files()[0], after=5) == []


def test_a_large_file_is_read_in_portions(spool: Path) -> None:
    """One read returns about limit_bytes, at least one batch; the next read returns the rest."""
    journal = Journal(spool / "w")
    for _ in range(6):
        journal.write([prediction(1000)])
    reader = JournalReader(spool)
    file = reader.files()[0]
    sizes = []
    after = 0
    while batches := reader.read(file, after=after, limit_bytes=2500):
        sizes.append(len(batches))
        after = batches[-1].number
    assert sizes == [3, 3]
    assert len(reader.read(file, after=0, limit_bytes=1)) == 1
    journal.close()


def test_a_file_without_a_table_yet_is_empty(spool: Path) -> None:
    """A file that its writer has just created is empty and not damaged."""
    (spool / "w").mkdir(parents=True)
    path = spool / "w" / "00000001.journal"
    path.touch()
    reader = JournalReader(spool)
    assert reader.read(JournalFile(path=path, finished=False), after=0) == []
    path.unlink()
    with pytest.raises(sqlite3.OperationalError):
        reader.read(JournalFile(path=path, finished=False), after=0)


def test_damage_and_temporary_read_errors_differ(spool: Path) -> None:
    """Bytes that are not a database are damage; such a file can be set aside with its WAL, and is no journal any more."""
    (spool / "w").mkdir(parents=True)
    path = spool / "w" / "00000001.journal"
    path.write_bytes(b"this is no database" * 500)
    reader = JournalReader(spool)
    file = JournalFile(path=path, finished=True)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        reader.read(file, after=0)
    assert not isinstance(caught.value, sqlite3.OperationalError)
    path.with_name(path.name + "-wal").write_bytes(b"log")
    aside = reader.quarantine(file)
    assert aside.read_bytes().startswith(b"this is no database")
    assert reader.files() == []
    assert sorted(item.name for item in (spool / "w").iterdir()) == ["00000001.damaged", "00000001.damaged-wal"]


@pytest.mark.chaos
def test_a_spool_that_filled_its_own_disk_can_be_read_and_removed(tmp_path: Path) -> None:
    """Journals that a killed worker left on a completely full disk can be read, and so removed."""
    with small_disk(tmp_path / "disk") as disk:
        batches = [[prediction(20_000)] for _ in range(20)]
        folder = disk / "spool" / "w"
        journal = Journal(folder)
        for batch in batches:
            journal.write(batch)
        # As after a kill and a restart of the machine: file and WAL, no index.
        copies = {path.name: path.read_bytes() for path in folder.glob("*.journal*") if not path.name.endswith("-shm")}
        journal.close()
        for path in folder.glob("*.journal*"):
            path.unlink()
        for name, content in copies.items():
            (folder / name).write_bytes(content)
        with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(bytes(512)):
                pass
        assert ids_in(disk / "spool") == [batch[0].id for batch in batches]
        reader = JournalReader(disk / "spool")
        reader.remove(reader.files()[0])
        assert reader.files() == []


def test_removing_a_file_removes_its_log_and_index(spool: Path) -> None:
    """No part of a shipped file remains."""
    journal = Journal(spool / "w")
    journal.write([prediction()])
    reader = JournalReader(spool)
    reader.remove(reader.files()[0])
    assert [path.name for path in (spool / "w").iterdir()] == [LOCK]
    journal.close()


def test_sweeping_removes_only_what_a_dead_writer_left_empty(spool: Path) -> None:
    """The folder of a dead worker is removed once it is empty and old enough; a live, a new and a non-empty one stay."""
    alive = Journal(spool / "alive")
    for name in ("fresh", "dead", "filled"):
        Journal(spool / name).close()
    filled = Journal(spool / "filled")
    filled.write([prediction()])
    filled.close()
    (spool / "starting").mkdir()
    for name in ("alive", "dead", "filled", "starting"):
        os.utime(spool / name, (1_000_000, 1_000_000))
    JournalReader(spool).remove_empty_folders()
    assert sorted(path.name for path in spool.iterdir()) == ["alive", "filled", "fresh", "starting"]
    alive.close()
