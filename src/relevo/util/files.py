"""Reads user-supplied files safely: regular files only, and at most a given number of bytes.

path ─ open without blocking ─ regular file? ─ within the limit? ─► open file | bytes

A device never ends, a pipe may never begin, and a file may have grown since it was checked: so the open file itself is checked,
and never more bytes than the limit are read.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

#: Default limit in bytes for files of users: samples, labels, scores, records to predict.
MOST = 2**30
#: Error numbers of a full disk or an exceeded quota.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class NotRegularFileError(OSError):
    """The path is not a file that can be read completely; the message says why, without the path."""


def open_regular(path: Path | str, *, max_bytes: int = MOST) -> BinaryIO:
    """Open a file. Raises NotRegularFileError for a folder, device or pipe and above `max_bytes` bytes, OSError if it cannot be opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_status(os.fstat(descriptor), max_bytes)
    except NotRegularFileError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path | str, *, max_bytes: int = MOST) -> bytes:
    """All bytes of the file. Raises as `open_regular`, also if the file grows beyond the limit meanwhile."""
    with open_regular(path, max_bytes=max_bytes) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise NotRegularFileError(_too_large_text(max_bytes))
    return data


def read_plain_text(path: Path | str, *, max_bytes: int = MOST) -> str:
    """The text of the file, UTF-8 with or without a byte order mark. Raises as `read_plain`, and UnicodeDecodeError."""
    return read_plain(path, max_bytes=max_bytes).decode("utf-8-sig")


def read_error_text(cause: Exception) -> str:
    """Translatable reason why a file could not be read, without its path."""
    if isinstance(cause, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return str(cause) if isinstance(cause, ValueError) else f"{type(cause).__name__}: {cause}"


def check_readable(folder: Path) -> None:
    """Raises PermissionError for a folder that this user cannot read; a missing folder is accepted."""
    # Check the effective user if the system supports it, since that is the user who reads.
    effective = os.access in os.supports_effective_ids
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK, effective_ids=effective):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def refuse_unless_plain(path: Path | str, *, most: int = MOST) -> None:
    """For files that a library opens by path. Raises as `open_regular`."""
    _check_status(Path(path).stat(), most)


def _check_status(status: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularFileError("it is a folder" if stat.S_ISDIR(status.st_mode) else "it is a device or a pipe, not a file")
    if status.st_size > most:
        raise NotRegularFileError(_too_large_text(most))


def _too_large_text(most: int) -> str:
    return f"it is larger than {most} bytes"
