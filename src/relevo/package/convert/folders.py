"""A framework's folder as one piece of bytes, the same for the same files, and as a folder again.

    folder/ ─ names sorted, no times, no owners ─► tar ─► SHA-256, quarantine ─► folder/

Only plain files and folders: a link would lead out of it.
"""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

from relevo.errors import FileFormatUnknown, QuarantineFailed

if TYPE_CHECKING:
    from pathlib import Path

#: Doors whose model is a folder.
FOLDERS = frozenset({"saved_model"})
#: What the folder is called inside the quarantine.
FOLDER = "model"
MAX_BYTES = 2**31 - 1  # of all files together
MAX_FILES = 1_000


def fold(folder: Path) -> bytes:
    """The folder as a tar. Raises FileFormatUnknown when it is too much, or holds something else than files and folders."""
    out = io.BytesIO()
    left = MAX_BYTES
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in _files(folder):
            left -= path.lstat().st_size
            if left < 0:
                raise FileFormatUnknown(reason=f"it is a folder of more than {MAX_BYTES} bytes")
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
                raise FileFormatUnknown(reason=f"it is a folder in which '{path.name}' is neither a file nor a folder")
            if path.is_file():
                found.append(path)
        if len(found) > MAX_FILES:
            raise FileFormatUnknown(reason=f"it is a folder of more than {MAX_FILES} files")
    return sorted(found)


def unfold(data: bytes, folder: Path) -> None:
    """The files of a tar that `fold` made, readable by everybody and writable by nobody else. Raises QuarantineFailed."""
    folder.mkdir(mode=0o755)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as cause:
        raise QuarantineFailed(reason="its folder cannot be laid out") from cause
    for place, _, files in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in files)):  # noqa: PTH118 - os.walk gives texts
            os.chmod(path, 0o755 if path == place else 0o644)  # noqa: PTH101 - see above
