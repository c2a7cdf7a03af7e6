"""Large inputs as files, each named by the SHA-256 of its content: the same bytes are kept once, and a changed file is noticed.

put(data) ─► temporary file ─ fsync ─ rename ─► <folder>/ab/cd/abcd…      get(sha256) ─► bytes, verified
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from relevo.errors import InputNotKept, StoreUnavailable

_log = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """Content-addressed files under one folder; lives as long as the process, safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def put(self, data: bytes) -> str:
        """Keep the bytes; they are on the disk when this returns. Returns their SHA-256 in hex. Raises StoreUnavailable."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        try:
            if path.exists() and path.stat().st_size == len(data):
                return sha256
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
        except OSError as cause:
            raise StoreUnavailable from cause
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes of that name. Raises InputNotKept when they are gone or no longer what they were, StoreUnavailable."""
        if _SHA256.fullmatch(sha256) is None:
            raise InputNotKept
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError as cause:
            raise InputNotKept from cause
        except OSError as cause:
            raise StoreUnavailable from cause
        if hashlib.sha256(data).hexdigest() != sha256:
            _log.error("a stored input was changed on the disk", extra={"action": "blob.damaged", "sha256": sha256})
            raise InputNotKept
        return data

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256[2:4] / sha256


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there with all its bytes or not at all, also after a power cut. Raises OSError."""
    handle, name = mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
