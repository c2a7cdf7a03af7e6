"""Large inputs as files: stored once, complete or not at all, and never silently changed."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from relevo.errors import DatabaseUnavailableError, InputNotStoredError
from relevo.store.files.blobs import Blobs

if TYPE_CHECKING:
    from pathlib import Path


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_stored_bytes_are_returned(tmp_path: Path) -> None:
    """Stored bytes are returned by their SHA-256, also by a new object."""
    sha256 = Blobs(tmp_path / "blobs").put(b"a photo")
    assert sha256 == hashlib.sha256(b"a photo").hexdigest()
    assert Blobs(tmp_path / "blobs").get(sha256) == b"a photo"


def test_equal_bytes_are_stored_once(tmp_path: Path) -> None:
    """Concurrent writes of the same bytes create one file and leave no temporary files."""
    blobs = Blobs(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(blobs.put, [b"x" * 100_000] * 40))) == 1
    assert len(files(tmp_path)) == 1


def test_many_inputs_are_stored_at_once(tmp_path: Path) -> None:
    """Each of many inputs is returned by its name; equal ones are stored once, and no other files exist."""
    blobs = Blobs(tmp_path)
    inputs = [b"one", b"two", b"one", b"three"]
    names = blobs.put_all(inputs)
    assert [blobs.get(name) for name in names] == inputs
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize("damage", [b"", b"another", b"a phot\x00"])
def test_changed_bytes_are_never_returned(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A changed file is not returned, and the log entry does not contain its content."""
    blobs = Blobs(tmp_path)
    sha256 = blobs.put(b"a photo")
    files(tmp_path)[0].write_bytes(damage)
    with pytest.raises(InputNotStoredError):
        blobs.get(sha256)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_truncated_file_is_replaced(tmp_path: Path) -> None:
    """Storing the bytes again replaces a truncated file."""
    blobs = Blobs(tmp_path)
    sha256 = blobs.put(b"a photo")
    files(tmp_path)[0].write_bytes(b"a ph")
    assert blobs.get(blobs.put(b"a photo")) == b"a photo"
    assert blobs.get(sha256) == b"a photo"


@pytest.mark.parametrize("name", ["", "0" * 64, "../../etc/passwd", "A" * 64, "0" * 63 + "/"])
def test_unknown_names_are_told(tmp_path: Path, name: str) -> None:
    """An unknown or invalid name raises InputNotStoredError."""
    with pytest.raises(InputNotStoredError):
        Blobs(tmp_path).get(name)


def test_a_failed_sync_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk error the caller gets an error and no file remains; afterwards writing works again."""
    blobs = Blobs(tmp_path)

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DatabaseUnavailableError):
        blobs.put(b"a photo")
    assert files(tmp_path) == []
    monkeypatch.undo()
    assert blobs.get(blobs.put(b"a photo")) == b"a photo"
