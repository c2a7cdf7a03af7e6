"""Large inputs as content-addressed files, named by their SHA-256: equal bytes are stored once, and a changed file is detected.

put_all(inputs) ─► temporary files ─ fsync each ─ rename each ─► <folder>/ab/abcd… ─ fsync the folders
get(sha256) ─► bytes, verified
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.errors import DatabaseUnavailableError, InputNotStoredError
from relevo.util.files import sync, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_log = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """Content-addressed files in one folder. Lifetime: the process; safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def put(self, data: bytes) -> str:
        """Stores the bytes and returns their SHA-256 in hex; they are on disk when it returns. Raises DatabaseUnavailableError."""
        return self.put_all([data])[0]

    def put_all(self, inputs: Sequence[bytes]) -> list[str]:
        """Stores all inputs and returns the SHA-256 of each; they are on disk when it returns. Raises DatabaseUnavailableError.

        After an error some may be stored, each complete; storing them again finds these.
        """
        names = [hashlib.sha256(data).hexdigest() for data in inputs]
        data_by_path = {self._path(name): data for name, data in zip(names, inputs, strict=True)}
        try:
            absent = {path: data for path, data in data_by_path.items() if not _has_size(path, len(data))}
            self._create_folders({path.parent for path in absent})
            write_atomic(absent)
        except OSError as cause:
            raise DatabaseUnavailableError from cause
        return names

    def get(self, sha256: str) -> bytes:
        """Returns the bytes of this name. Raises InputNotStoredError when they are missing or changed, DatabaseUnavailableError."""
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
        """Deletes the files of these names, if they exist. Raises DatabaseUnavailableError."""
        folders = set()
        try:
            for path in map(self._path, names):
                path.unlink(missing_ok=True)
                folders.add(path.parent)
            for folder in folders:
                if folder.is_dir():
                    sync(folder)
        except OSError as cause:
            raise DatabaseUnavailableError from cause

    def _create_folders(self, folders: set[Path]) -> None:
        new = [folder for folder in folders if not folder.is_dir()]
        for folder in new:
            folder.mkdir(parents=True, exist_ok=True)
        if new:
            sync(self._folder)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False
