"""Packages stored on this machine, one folder for each digest; written once and never changed.

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
    """Package folders by digest. Lifetime: the process; safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def put(self, package_folder: Path, digest: str) -> Path:
        """Copies an opened and verified package folder; complete and on disk when this returns. An existing digest is not copied again.

        Raises PackageError for an invalid digest, DatabaseUnavailableError when the disk rejects it.
        """
        path = self._path(digest)
        if path.is_dir():
            return path
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._copy(Path(package_folder), path)
        except OSError as cause:
            raise DatabaseUnavailableError from cause
        return path

    def path(self, digest: str) -> Path:
        """Returns the folder of a package. Raises PackageError when it is not stored here."""
        path = self._path(digest)
        if not path.is_dir():
            raise PackageError(reason=f"{digest[:12]}… is not among this machine's packages")
        return path

    def _path(self, digest: str) -> Path:
        if _SHA256.fullmatch(digest) is None:
            raise PackageError(reason="its digest is not a SHA-256")
        return self._folder / digest

    def _copy(self, source: Path, path: Path) -> None:
        draft = Path(mkdtemp(prefix=draft_prefix(), dir=self._folder))
        try:
            shutil.copytree(source, draft, dirs_exist_ok=True)
            draft.chmod(0o755)
            _sync_tree(draft)
            try:
                draft.rename(path)
            except OSError:
                # Race: another process may have stored the same package first; a folder with files is never replaced.
                if not path.is_dir():
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        sync_folder(self._folder)


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
            continue
        sync_file(path)
    sync_folder(folder)
