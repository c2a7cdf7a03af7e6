"""Packs a framework's model folder into deterministic bytes, and extracts it again.

    folder/ ─ names sorted, no times, no owners ─► tar ─► SHA-256, sandbox ─► folder/

Only regular files and folders: a link could lead outside the folder.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from typing import TYPE_CHECKING

from relevo.errors import SandboxError, UnknownFileFormatError

if TYPE_CHECKING:
    from pathlib import Path

#: Formats whose model is a folder.
FOLDERS = frozenset({"saved_model"})
MAX_BYTES = 2**31 - 1  # of all files together
MAX_FILES = 1_000
#: The sandbox may run as another user, who must read the files.
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644


def archive_folder(folder: Path) -> bytes:
    """Pack the folder as a tar. Raises UnknownFileFormatError when it is too large, or holds anything but files and folders."""
    buffer = io.BytesIO()
    remaining = MAX_BYTES
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in _list_files(folder):
            remaining -= path.lstat().st_size
            if remaining < 0:
                raise UnknownFileFormatError(reason=f"it is a folder of more than {MAX_BYTES} bytes")
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _list_files(folder: Path) -> list[Path]:
    regular_files = []
    for parent, folders, files in os.walk(folder):
        for path in (folder.__class__(parent, name) for name in (*folders, *files)):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise UnknownFileFormatError(reason=f"it is a folder in which '{path.name}' is neither a file nor a folder")
            if path.is_file():
                regular_files.append(path)
        if len(regular_files) > MAX_FILES:
            raise UnknownFileFormatError(reason=f"it is a folder of more than {MAX_FILES} files")
    return sorted(regular_files)


def extract_folder(data: bytes, folder: Path) -> None:
    """Extract a tar made by `archive_folder`, readable by all, writable by the owner only. Raises SandboxError."""
    try:
        folder.mkdir()
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                _extract_file(archive, entry, folder)
        for path, _, _ in os.walk(folder):
            os.chmod(path, _FOLDER_MODE)  # noqa: PTH101 - os.walk returns texts
    except (tarfile.TarError, OSError) as cause:
        raise SandboxError(reason="its folder cannot be laid out") from cause


def _extract_file(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    """Extract one file. Not with `extract`: the first supported Pythons lack its filter against paths outside the folder."""
    content = archive.extractfile(entry) if entry.isreg() else None
    path = folder / entry.name
    if content is None or ".." in path.parts or not path.is_relative_to(folder):
        raise SandboxError(reason="its folder cannot be laid out")
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
    path.chmod(_FILE_MODE)
