"""Large inputs as files, each named by the SHA-256 of its content: the same bytes are kept once, and a changed file is noticed.

put_all(inputs) ─► temporary files ─ fsync each ─ rename each ─► <folder>/ab/abcd… ─ fsync the folders
get(sha256) ─► bytes, verified

Many at once are cheaper than one after the other: what the first fsync brings to the disk, the others find there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING

from relevo.errors import DatabaseUnavailableError, InputNotStoredError
from relevo.store.files.drafts import draft_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_log = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """Content-addressed files under one folder; lives as long as the process, safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def put(self, data: bytes) -> str:
        """Keep the bytes; they are on the disk when this returns. Returns their SHA-256 in hex. Raises DatabaseUnavailableError."""
        return self.put_all([data])[0]

    def put_all(self, inputs: Sequence[bytes]) -> list[str]:
        """Keep them all; they are on the disk when this returns. Returns the SHA-256 of each. Raises DatabaseUnavailableError.

        When it raises, some may be kept: whole, and found again when they are put once more.
        """
        names = [hashlib.sha256(data).hexdigest() for data in inputs]
        wanted = {self._path(name): data for name, data in zip(names, inputs, strict=True)}
        try:
            absent = {path: data for path, data in wanted.items() if not _is_whole(path, len(data))}
            self._make({path.parent for path in absent})
            write_atomic(absent)
        except OSError as cause:
            raise DatabaseUnavailableError from cause
        return names

    def get(self, sha256: str) -> bytes:
        """The bytes of that name. Raises InputNotStoredError when they are gone or no longer what they were, DatabaseUnavailableError."""
        if _SHA256.fullmatch(sha256) is None:
            raise InputNotStoredError
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError as cause:
            raise InputNotStoredError from cause
        except OSError as cause:
            raise DatabaseUnavailableError from cause
        if hashlib.sha256(data).hexdigest() != sha256:
            _log.error("a stored input was changed on the disk", extra={"action": "blob.damaged", "sha256": sha256})
            raise InputNotStoredError
        return data

    def remove(self, names: Iterable[str]) -> None:
        """Remove the files of these names, those that are there. Raises DatabaseUnavailableError."""
        folders = set()
        try:
            for path in map(self._path, names):
                path.unlink(missing_ok=True)
                folders.add(path.parent)
            for folder in folders:
                if folder.is_dir():
                    sync_folder(folder)
        except OSError as cause:
            raise DatabaseUnavailableError from cause

    def _make(self, folders: set[Path]) -> None:
        new = [folder for folder in folders if not folder.is_dir()]
        for folder in new:
            folder.mkdir(parents=True, exist_ok=True)
        if new:
            sync_folder(self._folder)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def write_atomic(files: Mapping[Path, bytes]) -> None:
    """Write files so that each is there with all its bytes or not at all, also after a power cut. Raises OSError."""
    written: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            written[path] = _write_beside(path, data)
        for temporary in written.values():
            sync_file(temporary)
        for path, temporary in written.items():
            temporary.replace(path)
    except BaseException:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
        raise
    for folder in {path.parent for path in written}:
        sync_folder(folder)


def _write_beside(path: Path, data: bytes) -> Path:
    handle, name = mkstemp(prefix=draft_prefix(), dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def sync_file(path: Path) -> None:
    """Make what a file holds survive a power cut. Raises OSError."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power cut. Raises OSError."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
