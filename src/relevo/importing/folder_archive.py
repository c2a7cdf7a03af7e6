"""A framework's folder as one piece of bytes, the same for the same files, and as a folder again.

    folder/ ─ names sorted, no times, no owners ─► tar ─► SHA-256, quarantine ─► folder/

Only plain files and folders: a link would lead out of it.
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

#: Doors whose model is a folder.
FOLDERS = frozenset({"saved_model"})
MAX_BYTES = 2**31 - 1  # of all files together
MAX_FILES = 1_000
#: The quarantine may run as another user, who reads it.
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644


def fold(folder: Path) -> bytes:
    """The folder as a tar. Raises UnknownFileFormatError when it is too much, or holds something else than files and folders."""
    out = io.BytesIO()
    left = MAX_BYTES
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in _files(folder):
            left -= path.lstat().st_size
            if left < 0:
                raise UnknownFileFormatError(reason=f"it is a folder of more than {MAX_BYTES} bytes")
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _files(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        for path in (folder.__class__(place, name) for name in (*folders, *files)):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise UnknownFileFormatError(reason=f"it is a folder in which '{path.name}' is neither a file nor a folder")
            if path.is_file():
                found.append(path)
        if len(found) > MAX_FILES:
            raise UnknownFileFormatError(reason=f"it is a folder of more than {MAX_FILES} files")
    return sorted(found)


def unfold(data: bytes, folder: Path) -> None:
    """The files of a tar that `fold` made, readable by everybody and writable by nobody else. Raises SandboxError."""
    try:
        folder.mkdir()
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                _lay_out(archive, entry, folder)
        for place, _, _ in os.walk(folder):
            os.chmod(place, _FOLDER_MODE)  # noqa: PTH101 - os.walk gives texts
    except (tarfile.TarError, OSError) as cause:
        raise SandboxError(reason="its folder cannot be laid out") from cause


def _lay_out(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    """One file of it. Not by `extract`, whose filter against paths that lead out is missing from the first Pythons we run on."""
    content = archive.extractfile(entry) if entry.isreg() else None
    path = folder / entry.name
    if content is None or ".." in path.parts or not path.is_relative_to(folder):
        raise SandboxError(reason="its folder cannot be laid out")
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
    path.chmod(_FILE_MODE)
