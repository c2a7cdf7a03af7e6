"""Files to disk, whole or not at all: a folder by rename, or a zip without times.

{path: bytes} ─► temp beside the goal ─ fsync ─ rename ─ fsync of the parent ─► folder | .zip
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from relevo.errors import PackageRefused

#: The first moment a zip can name; every entry has it, so that the same files are the same zip.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


def write_package(files: dict[str, bytes], out: Path) -> None:
    """Write a folder, or a zip when `out` ends in .zip; what was there is replaced only when it is a package or an empty folder.

    Raises PackageRefused when something else is in the way.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".zip":
        _replace_file(out, zip_bytes(files))
    else:
        _replace_folder(out, files)


def zip_bytes(files: dict[str, bytes]) -> bytes:
    """The files as a zip: sorted, without times."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, on whatever it is written
            entry.external_attr = _MODE << 16
            archive.writestr(entry, files[path])
    return out.getvalue()


def _replace_file(out: Path, content: bytes) -> None:
    if out.is_dir():
        raise PackageRefused(reason=f"'{out}' is a folder; a zip cannot take its place")
    descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=".packing-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write_through(file, content)
        temporary.chmod(0o644)
        temporary.replace(out)
        _sync_folder(out.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _replace_folder(out: Path, files: dict[str, bytes]) -> None:
    _refuse_foreign(out)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=".packing-"))
    try:
        temporary.chmod(0o755)
        for path, content in files.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            with (temporary / path).open("wb") as file:
                _write_through(file, content)
        for folder in {(temporary / path).parent for path in files} | {temporary}:
            _sync_folder(folder)
        if out.exists():
            # A folder cannot be renamed over a full one: the old is moved aside, and goes with the temporary one.
            out.rename(temporary.with_name(temporary.name + "-old"))
        temporary.rename(out)
        _sync_folder(out.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(temporary.with_name(temporary.name + "-old"), ignore_errors=True)


def _refuse_foreign(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise PackageRefused(reason=f"'{out}' is a file or a link; choose another place")
    if out.is_dir() and any(out.iterdir()) and not (out / "manifest.json").is_file():
        raise PackageRefused(reason=f"'{out}' is a folder with other things in it; choose another place")


def _write_through(file: io.BufferedWriter, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
