"""Files of strangers are read only when they are plain files, and only as far as was agreed.

path ─ opened without waiting for a writer ─ a plain file? ─ not too large? ─► open file | bytes

A device never ends, a pipe may never begin, and a file may have grown since it was looked at: what is judged here is the open file
itself, and no more of it is read than the bound.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

#: Bytes of what a person hands over beside a model: samples, truths, scores, records to predict.
MOST = 2**30
#: What the system says where a disk, or somebody's share of it, is full.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class NotRegularFileError(OSError):
    """What the path names is no file that can be read whole; its text says why, without the path."""


def open_regular(path: Path | str, *, most: int = MOST) -> BinaryIO:
    """The open file. Raises NotRegularFileError for a folder, device or pipe and beyond `most` bytes, OSError where it cannot be opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse(os.fstat(descriptor), most)
    except NotRegularFileError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path | str, *, most: int = MOST) -> bytes:
    """All bytes of the file. Raises as `open_plain` does, also when it grows beyond the bound meanwhile."""
    with open_regular(path, most=most) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise NotRegularFileError(_too_large(most))
    return data


def read_plain_text(path: Path | str, *, most: int = MOST) -> str:
    """All text of the file, UTF-8 with or without a byte order mark. Raises as `read_plain` does, and UnicodeDecodeError."""
    return read_plain(path, most=most).decode("utf-8-sig")


def read_error_text(cause: Exception) -> str:
    """Why a file could not be read, in words that have a translation, without its path."""
    if isinstance(cause, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return str(cause) if isinstance(cause, ValueError) else f"{type(cause).__name__}: {cause}"


def look_into(folder: Path) -> None:
    """Raises PermissionError for a folder that is closed to this user; one that is not there is nobody's."""
    # The effective user, where the system tells of it, is the one that reads.
    effective = os.access in os.supports_effective_ids
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK, effective_ids=effective):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def refuse_unless_plain(path: Path | str, *, most: int = MOST) -> None:
    """For what a library opens by its path. Raises as `open_plain` does."""
    _refuse(Path(path).stat(), most)


def _refuse(found: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotRegularFileError("it is a folder" if stat.S_ISDIR(found.st_mode) else "it is a device or a pipe, not a file")
    if found.st_size > most:
        raise NotRegularFileError(_too_large(most))


def _too_large(most: int) -> str:
    return f"it is larger than {most} bytes"
