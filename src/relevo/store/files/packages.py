"""Packages on this machine, each folder named by its digest; a package is put there once and never changed.

put(folder, digest) ─► copy, fsync ─ rename ─► <folder>/<digest>/          path(digest) ─► Path
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import mkdtemp

from relevo.errors import DatabaseUnavailableError, PackageError
from relevo.store.files.blobs import sync_file, sync_folder
from relevo.store.files.drafts import draft_prefix

_SHA256 = re.compile(r"[0-9a-f]{64}")


class PackageStore:
    """Package folders by digest; lives as long as the process, safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def put(self, package_folder: Path, digest: str) -> Path:
        """Copy an opened and verified package folder; on the disk, whole, when this returns. The same digest again is left alone.

        Raises PackageError for a digest that is none, DatabaseUnavailableError when the disk does not take it.
        """
        place = self._place(digest)
        if place.is_dir():
            return place
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._copy(Path(package_folder), place)
        except OSError as cause:
            raise DatabaseUnavailableError from cause
        return place

    def path(self, digest: str) -> Path:
        """Where the package lies. Raises PackageError when it is not here."""
        place = self._place(digest)
        if not place.is_dir():
            raise PackageError(reason=f"{digest[:12]}… is not among this machine's packages")
        return place

    def _place(self, digest: str) -> Path:
        if _SHA256.fullmatch(digest) is None:
            raise PackageError(reason="its digest is not a SHA-256")
        return self._folder / digest

    def _copy(self, source: Path, place: Path) -> None:
        fresh = Path(mkdtemp(prefix=draft_prefix(), dir=self._folder))
        try:
            shutil.copytree(source, fresh, dirs_exist_ok=True)
            fresh.chmod(0o755)
            _sync_tree(fresh)
            try:
                fresh.rename(place)
            except OSError:
                # Race: another process put the same package first, and a folder with files is never replaced.
                if not place.is_dir():
                    raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        sync_folder(self._folder)


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
            continue
        sync_file(path)
    sync_folder(folder)
