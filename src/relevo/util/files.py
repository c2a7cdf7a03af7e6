"""Reads files of users safely, and writes files so that each is complete or absent.

    path ─ open without blocking ─ regular file? ─ within the limit? ─► open file | bytes
    bytes ─► draft .new-<pid>-… beside the target ─ fsync ─ rename ─► the file or folder: complete, or unchanged
    value ─ save_state ─► JSON file, without fsync ─ load_state ─► value | None: never saved, or damaged, which is logged

Reading: a device never ends, a pipe may never begin, and a file may have grown since it was checked: so the open file itself is
checked, and never more bytes than the limit are read. A killed process leaves its drafts; `sweep_drafts` removes them.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp, mkstemp
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = logging.getLogger(__name__)

Value = TypeVar("Value")

#: Default limit in bytes for files of users: samples, labels, scores, records to predict.
MOST = 2**30
#: Error numbers of a full disk or an exceeded quota.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_DRAFT = re.compile(r"\.new-(?P<pid>\d+)-.*")


# --- reading --------------------------------------------------------------------------------------------------------------


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


# --- writing --------------------------------------------------------------------------------------------------------------


def write_atomic(files: Mapping[Path, bytes], *, mode: int = 0o600, replace: bool = True) -> None:
    """Writes files so that each is complete or absent, also after a power failure. Raises OSError.

    replace: whether existing files are replaced; otherwise they stay as they are.
    """
    drafts: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            drafts[path] = _write_draft(path, data, mode)
        # Many fsyncs at the end are cheaper than one after each file: the first writes much of what the others need.
        for draft in drafts.values():
            sync(draft)
        for path, draft in drafts.items():
            if replace:
                draft.replace(path)
            else:
                # Race: another process may create the file too; then its content is used.
                with suppress(FileExistsError):
                    path.hardlink_to(draft)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    for folder in {path.parent for path in files}:
        sync(folder)


def write_folder(folder: Path, files: Mapping[str, bytes], *, replace: bool = False) -> None:
    """Writes a folder with these files so that it is complete or absent, also after a power failure. Raises OSError.

    replace: whether an existing folder with files is replaced; otherwise it stays.
    """
    draft = Path(mkdtemp(prefix=_draft_prefix(), dir=folder.parent))
    previous = draft.with_name(f"{draft.name}-previous")
    try:
        draft.chmod(0o755)
        for path, data in files.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            (draft / path).write_bytes(data)
        for entry in [*draft.rglob("*"), draft]:
            sync(entry)
        if replace and folder.exists():
            # A rename cannot replace a folder with content: the old folder is renamed first, and removed at the end.
            folder.rename(previous)
        try:
            draft.rename(folder)
        except OSError:
            # Race: another process may have written the folder first.
            if replace or not folder.is_dir():
                raise
        sync(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file that only its owner can read, without waiting for the disk (no fsync). Raises OSError."""
    draft = path.with_name(f"{_draft_prefix()}{path.stem}")
    draft.touch(mode=0o600)
    draft.write_bytes(data)
    draft.replace(path)


def save_state(path: Path, value: object) -> None:
    """Saves a value that msgspec can encode, for a start without the database. On a full disk the previous value remains."""
    with suppress(OSError):
        replace_file(path, msgspec.json.encode(value))


def load_state(path: Path, kind: type[Value]) -> Value | None:
    """The value last saved there, or None if there is none or it cannot be read as that type."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as cause:
        # A power failure may leave a file with the right name and no content.
        log.warning("%s cannot be read and is done without: %s", path.name, cause, extra={"action": "memory_damaged"})
        return None


def sync(path: Path) -> None:
    """Flushes a file's content, or a folder's entries, to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_drafts(folders: Iterable[Path]) -> None:
    """Removes the drafts of ended processes in these folders. Errors are ignored."""
    for folder in folders:
        with suppress(OSError):
            for path in list(folder.iterdir()):
                if (match := _DRAFT.fullmatch(path.name)) and not _is_alive(int(match["pid"])):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _draft_prefix() -> str:
    return f".new-{os.getpid()}-"


def _write_draft(path: Path, data: bytes, mode: int) -> Path:
    handle, name = mkstemp(prefix=_draft_prefix(), dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    # The drafts of an earlier process with this one's id are abandoned.
    return pid != os.getpid()
