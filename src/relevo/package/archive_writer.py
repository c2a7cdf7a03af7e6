"""Files to disk, whole or not at all: a folder by rename, or a zip without times.

{path: bytes} ─► temp beside the goal ─ fsync ─ rename ─ fsync of the parent ─► folder | .zip

Whether a goal can be written is asked before the work, too: a training is not thrown away over a path.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.errors import PackageError
from relevo.package.archive_reader import is_package

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The first moment a zip can name; every entry has it, so that the same files are the same zip.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


def write_package(files: dict[str, bytes], out: Path) -> None:
    """Write a folder, or a zip when `out` ends in .zip; what was there is replaced only when it is a package or an empty folder.

    Raises PackageError when something else is in the way, or nothing can be written there.
    """
    check_output_path(out)
    with _told(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".zip":
            _replace_file(out, zip_bytes(files))
        else:
            _replace_folder(out, files)


def check_output_path(out: Path) -> None:
    """See before the work whether a package can be written there; makes nothing. Raises PackageError as `write_package` does."""
    problem = write_error(out.parent)
    if problem is not None:
        raise PackageError(reason=f"'{out}' cannot be written: {problem}; choose another place")
    with _told(out):
        if out.suffix == ".zip":
            _refuse_no_package(out)
        else:
            _refuse_foreign(out)


def write_error(folder: Path) -> str | None:
    """Why nothing can be made in this folder, which need not be there yet; None when something can. Makes nothing."""
    near = folder
    # Not `exists`, which raises where a folder above may not be entered.
    while not os.path.lexists(near) and near != near.parent:
        near = near.parent
    if not near.is_dir():
        return f"{near} is no folder"
    return None if os.access(near, os.W_OK | os.X_OK) else f"the folder {near} is not writable for this user"


@contextmanager
def _told(out: Path) -> Iterator[None]:
    """What the disk refuses, as a sentence."""
    try:
        yield
    except OSError as cause:
        raise PackageError(reason=f"'{out}' cannot be written: {cause.strerror or cause}; choose another place") from cause


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


def _refuse_no_package(out: Path) -> None:
    if out.is_dir():
        raise PackageError(reason=f"'{out}' is a folder; a zip cannot take its place")
    if out.exists() and out.stat().st_size and not is_package(out):
        raise PackageError(reason=f"'{out}' is a file that is no package; choose another place")


def _replace_file(out: Path, content: bytes) -> None:
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
        raise PackageError(reason=f"'{out}' is a file or a link; choose another place")
    if out.is_dir() and any(out.iterdir()) and not (out / "manifest.json").is_file():
        raise PackageError(reason=f"'{out}' is a folder with other things in it; choose another place")


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
