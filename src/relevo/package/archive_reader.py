"""A package's bytes, from a folder or a zip, through caps; nothing is ever extracted by name.

    folder ─ walk without following links ───────┐
    .zip   ─ headers judged, inflated in memory ─┴─► {path: bytes}

Refused before a byte of content counts: outside paths, links, devices, names that differ only in case, bombs, encryption.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from itertools import islice
from typing import TYPE_CHECKING

from relevo.errors import PackageError, UnsafePackageError
from relevo.package.layout import MANIFEST, MAX_BYTES, MAX_FILES, MAX_RATIO, RATIO_FLOOR, path_is_plain
from relevo.util.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_ENCRYPTED = 0x1
_KNOWN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What the zip reader may raise on bytes that are damaged or made to harm.
_BROKEN = (
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


def is_package(path: Path) -> bool:
    """Whether this folder or archive calls itself a package; whether it is a good one, only opening it tells."""
    if path.is_dir():
        return (path / MANIFEST).is_file()
    try:
        with open_regular(path, most=MAX_BYTES) as file, zipfile.ZipFile(file) as archive:
            return MANIFEST in archive.namelist()
    except _BROKEN:
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
    _refuse_twins(path for path, _ in entries)
    _refuse_size(sum(size for _, size in entries), MAX_BYTES)
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
            raise UnsafePackageError(reason=f"the file name {_shown(path)} is not allowed")
        if stat.S_ISDIR(mode):
            yield from _walk(folder / entry.name, path + "/")
        elif stat.S_ISREG(mode):
            yield path, entry.stat(follow_symlinks=False).st_size
        else:
            raise UnsafePackageError(reason=f"'{path}' is a link or a device, not a file")


def _read_regular(path: Path) -> bytes:
    # Race: a file swapped for a link after the walk; O_NOFOLLOW makes that fail.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_BYTES)


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with open_regular(path, most=MAX_BYTES) as file:
            if file.read(4) != b"PK\x03\x04":
                raise PackageError(reason="it is neither a folder nor a zip")
            with zipfile.ZipFile(file) as archive:
                return _inflate(archive, path.stat().st_size)
    except _BROKEN as cause:
        raise PackageError(reason="the zip is damaged or cut off") from cause


def _inflate(archive: zipfile.ZipFile, archive_bytes: int) -> dict[str, bytes]:
    entries = [entry for entry in archive.infolist() if not _is_folder(entry)]
    if len(entries) > MAX_FILES:
        raise UnsafePackageError(reason=f"it holds more than {MAX_FILES} files")
    for entry in entries:
        _judge(entry)
    _refuse_twins(entry.filename for entry in entries)
    budget = min(MAX_BYTES, max(RATIO_FLOOR, MAX_RATIO * archive_bytes))
    _refuse_size(sum(entry.file_size for entry in entries), budget)
    return {entry.filename: _inflate_one(archive, entry) for entry in entries}


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith("/") and entry.file_size == 0 and path_is_plain(entry.filename[:-1])


def _judge(entry: zipfile.ZipInfo) -> None:
    # `orig_filename` still has what follows a NUL; `filename` was cut there by the library.
    if not path_is_plain(entry.orig_filename):
        raise UnsafePackageError(reason=f"the file name {_shown(entry.orig_filename)} is not allowed")
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise UnsafePackageError(reason=f"'{entry.filename}' is a link or a device, not a file")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _KNOWN_METHODS:
        raise UnsafePackageError(reason=f"'{entry.filename}' is encrypted or packed in an unusual way")


def _inflate_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise UnsafePackageError(reason=f"'{entry.filename}' is not as long as the archive says")
    return content


def _refuse_twins(paths: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(path.lower(), path)
        if other is not path:
            raise UnsafePackageError(reason=f"'{path}' is there twice, or differs from '{other}' only in case")


def _refuse_size(size: int, budget: int) -> None:
    if size > budget:
        raise UnsafePackageError(reason=f"it would grow to {size} bytes, more than the {budget} allowed")


def _shown(path: str) -> str:
    return ascii(path[:100])
