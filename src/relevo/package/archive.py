"""Reads and writes the files of a package, as a folder or a zip.

    folder ─ walk without following links ──────────┐
    .zip   ─ headers validated, inflated in memory ─┴─► {path: bytes}
    {path: bytes} ─ written beside the target ─ renamed ─► folder | .zip

The reader never extracts to disk. Before it reads content it rejects paths that leave the package, links, devices, names that
differ only in case, decompression bombs and encryption. The writer is atomic: the package is written completely or not at all.
`check_output_path` checks the target before the work begins, so that no training is lost because of a path.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from relevo.errors import PackageError, UnsafePackageError
from relevo.package.layout import MANIFEST, MAX_BYTES, MAX_FILES, MAX_RATIO, RATIO_FLOOR, path_is_plain
from relevo.util.files import open_regular, write_atomic, write_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_ENCRYPTED = 0x1
_ALLOWED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What the zip reader may raise on damaged or hostile bytes.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    KeyError,
)
#: The earliest timestamp a zip can store; every entry has it, so that the same files give the same zip.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644


# --- reading --------------------------------------------------------------------------------------------------------------


def is_package(path: Path) -> bool:
    """Whether this folder or archive has a manifest. Does not validate the package."""
    if path.is_dir():
        return (path / MANIFEST).is_file()
    try:
        with open_regular(path, max_bytes=MAX_BYTES) as file, zipfile.ZipFile(file) as archive:
            return MANIFEST in archive.namelist()
    except _ZIP_ERRORS:
        return False


def read_files(path: Path) -> dict[str, bytes]:
    """Every file of the package at `path`, by its path inside. Raises PackageError, UnsafePackageError."""
    if path.is_dir():
        return _read_folder(path)
    if path.is_file():
        return _read_zip(path)
    raise PackageError(reason=f"there is no folder or file '{path}'")


def _read_folder(folder: Path) -> dict[str, bytes]:
    entries = list(_walk(folder, ""))
    _reject_duplicates(path for path, _ in entries)
    _check_size(sum(size for _, size in entries), MAX_BYTES)
    return {path: _read_regular(folder / path) for path, _ in entries}


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as listing:
        entries = list(islice(listing, MAX_FILES + 1))
    if len(entries) > MAX_FILES:
        raise UnsafePackageError(reason=f"it holds more than {MAX_FILES} files")
    for entry in entries:
        path = prefix + entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if not path_is_plain(path):
            raise UnsafePackageError(reason=f"the file name {_quoted(path)} is not allowed")
        if stat.S_ISDIR(mode):
            yield from _walk(folder / entry.name, path + "/")
        elif stat.S_ISREG(mode):
            yield path, entry.stat(follow_symlinks=False).st_size
        else:
            raise UnsafePackageError(reason=f"'{path}' is a link or a device, not a file")


def _read_regular(path: Path) -> bytes:
    # Race: a file is replaced by a link after the walk; O_NOFOLLOW makes the open fail.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_BYTES)


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with open_regular(path, max_bytes=MAX_BYTES) as file:
            if file.read(4) != b"PK\x03\x04":
                raise PackageError(reason="it is neither a folder nor a zip")
            with zipfile.ZipFile(file) as archive:
                return _inflate(archive, path.stat().st_size)
    except _ZIP_ERRORS as cause:
        raise PackageError(reason="the zip is damaged or cut off") from cause


def _inflate(archive: zipfile.ZipFile, archive_bytes: int) -> dict[str, bytes]:
    entries = [entry for entry in archive.infolist() if not _is_folder(entry)]
    if len(entries) > MAX_FILES:
        raise UnsafePackageError(reason=f"it holds more than {MAX_FILES} files")
    for entry in entries:
        _check_entry(entry)
    _reject_duplicates(entry.filename for entry in entries)
    budget = min(MAX_BYTES, max(RATIO_FLOOR, MAX_RATIO * archive_bytes))
    _check_size(sum(entry.file_size for entry in entries), budget)
    return {entry.filename: _inflate_entry(archive, entry) for entry in entries}


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith("/") and entry.file_size == 0 and path_is_plain(entry.filename[:-1])


def _check_entry(entry: zipfile.ZipInfo) -> None:
    # The library cuts `filename` at a NUL byte; `orig_filename` is complete.
    if not path_is_plain(entry.orig_filename):
        raise UnsafePackageError(reason=f"the file name {_quoted(entry.orig_filename)} is not allowed")
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise UnsafePackageError(reason=f"'{entry.filename}' is a link or a device, not a file")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _ALLOWED_METHODS:
        raise UnsafePackageError(reason=f"'{entry.filename}' is encrypted or packed in an unusual way")


def _inflate_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise UnsafePackageError(reason=f"'{entry.filename}' is not as long as the archive says")
    return content


def _reject_duplicates(paths: Iterable[str]) -> None:
    by_lower_case: dict[str, str] = {}
    for path in paths:
        first = by_lower_case.setdefault(path.lower(), path)
        if first is not path:
            raise UnsafePackageError(reason=f"'{path}' is there twice, or differs from '{first}' only in case")


def _check_size(size: int, budget: int) -> None:
    if size > budget:
        raise UnsafePackageError(reason=f"it would grow to {size} bytes, more than the {budget} allowed")


def _quoted(path: str) -> str:
    return ascii(path[:100])


# --- writing --------------------------------------------------------------------------------------------------------------


def write_package(files: dict[str, bytes], out: Path) -> None:
    """Writes a folder, or a zip when `out` ends in .zip. Replaces only a package or an empty folder.

    Raises PackageError when `out` is anything else, or cannot be written.
    """
    check_output_path(out)
    with _translate_os_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".zip":
            write_atomic({out: zip_bytes(files)}, mode=0o644)
        else:
            write_folder(out, files, replace=True)


def check_output_path(out: Path) -> None:
    """Checks that a package can be written to `out`; creates nothing. Raises PackageError as `write_package` does."""
    problem = write_error(out.parent)
    if problem is not None:
        raise PackageError(reason=f"'{out}' cannot be written: {problem}; choose another place")
    with _translate_os_errors(out):
        if out.suffix == ".zip":
            _check_file_target(out)
        else:
            _check_folder_target(out)


def write_error(folder: Path) -> str | None:
    """Why nothing can be created in this folder, which need not exist yet; None when it is writable. Creates nothing."""
    ancestor = folder
    # `exists` would raise where a parent folder is not accessible.
    while not os.path.lexists(ancestor) and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        return f"{ancestor} is no folder"
    return None if os.access(ancestor, os.W_OK | os.X_OK) else f"the folder {ancestor} is not writable for this user"


@contextmanager
def _translate_os_errors(out: Path) -> Iterator[None]:
    """Maps OSError to PackageError."""
    try:
        yield
    except OSError as cause:
        raise PackageError(reason=f"'{out}' cannot be written: {cause.strerror or cause}; choose another place") from cause


def zip_bytes(files: dict[str, bytes]) -> bytes:
    """The files as a zip: sorted, without timestamps."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = _FILE_MODE << 16
            archive.writestr(entry, files[path])
    return out.getvalue()


def _check_file_target(out: Path) -> None:
    if out.is_dir():
        raise PackageError(reason=f"'{out}' is a folder; a zip cannot take its place")
    if out.exists() and out.stat().st_size and not is_package(out):
        raise PackageError(reason=f"'{out}' is a file that is no package; choose another place")


def _check_folder_target(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise PackageError(reason=f"'{out}' is a file or a link; choose another place")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise PackageError(reason=f"'{out}' is a folder with other things in it; choose another place")
