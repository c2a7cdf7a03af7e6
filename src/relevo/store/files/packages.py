"""Packages stored on this machine, one folder for each digest; written once and never changed.

put(digest, files) ─► draft ─ fsync ─ rename ─► <folder>/<digest>/          open(digest) ─► StoredPackage ─ read(path) ─► bytes

Nothing outside needs a local path: ONNX Runtime loads a model from bytes. An object store implements the same two methods.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.errors import DatabaseUnavailableError, MissingFileError, PackageError
from relevo.util.files import read_plain, write_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHA256 = re.compile(r"[0-9a-f]{64}")


class StoredPackage:
    """The files of one stored package. Lifetime: the caller's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """One file; path: its name in the manifest, not verified. Raises MissingFileError when it cannot be read or is larger."""
        try:
            return read_plain(self._folder / path, max_bytes=max_bytes)
        except OSError as cause:
            raise MissingFileError(path=path) from cause


class PackageStore:
    """Package folders by digest. Lifetime: the process; safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def put(self, digest: str, files: Mapping[str, bytes]) -> None:
        """Stores a verified package; complete and on disk when this returns. An existing digest is not stored again.

        Raises PackageError for an invalid digest, DatabaseUnavailableError when the disk rejects it.
        """
        folder = self._path(digest)
        if folder.is_dir():
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_folder(folder, files)
        except OSError as cause:
            raise DatabaseUnavailableError from cause

    def open(self, digest: str) -> StoredPackage:
        """The files of a package. Raises PackageError when it is not stored here."""
        folder = self._path(digest)
        if not folder.is_dir():
            raise PackageError(reason=f"{digest[:12]}… is not among this machine's packages")
        return StoredPackage(folder)

    def _path(self, digest: str) -> Path:
        if _SHA256.fullmatch(digest) is None:
            raise PackageError(reason="its digest is not a SHA-256")
        return self._folder / digest
