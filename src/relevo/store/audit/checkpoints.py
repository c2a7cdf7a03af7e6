"""Checkpoints of the audit log outside the database: the chain alone cannot show that its end was cut off.

background process, each second ─┐
command, after each commit ──────┴─ look ─► last.json: replaces the last checkpoint, if the chain still contains it
                                        else ─► heads.jsonl keeps that checkpoint permanently, and an error is logged
background process ─ keep ─ every 100 entries, and every hour ─► heads.jsonl: sequence, MAC, time, and a signature by the audit key
load_checkpoints(folder) ─► the checkpoints that `relevo audit verify` compares with the chain

A checkpoint is written after the commit of its entry, which is on disk by then: a process killed in between leaves a chain longer
than the checkpoints, and a power failure never leaves a shorter one.
A copy of the files, or of the output of `relevo audit head`, on another machine reveals tampering by anyone with write access to
this one.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from typing import TYPE_CHECKING

import msgspec

from relevo.errors import ConfigError
from relevo.util.files import read_plain_text, sync, write_atomic
from relevo.util.locks import file_lock
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from relevo.store.audit.keys import AuditKey
    from relevo.store.audit.log import AuditLog
    from relevo.store.audit.reader import AuditEntry, AuditReader

log = logging.getLogger(__name__)

FILE = "heads.jsonl"
LAST = "last.json"
_INTERVAL_ENTRIES = 100
_INTERVAL_US = 3_600_000_000
_MAX_FILE_BYTES = 2**28
_MAX_LINE_BYTES = 4096


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The last entry of the chain at one moment."""

    sequence: int
    mac: str
    at_us: int = 0  # when it was written; microseconds since 1970, UTC
    signature: str = ""  # signature by the audit key; "" for one that a person noted


class Checkpoints:
    """Writes checkpoints. Lifetime: the process; safe for several processes. All methods raise DatabaseUnavailableError, OSError."""

    def __init__(self, folder: Path, reader: AuditReader, audit: AuditLog) -> None:
        self._folder = folder
        self._file = folder / FILE
        self._reader = reader
        self._audit = audit
        self._last_kept: Checkpoint | None = None
        self._latest: Checkpoint | None = None

    def update(self, now: datetime) -> Checkpoint | None:
        """Replaces the last checkpoint if the chain has a newer entry. Raises ConfigError."""
        entry = self._reader.last_entry()
        if entry is None or (self._latest is not None and entry.mac == self._latest.mac and (self._folder / LAST).exists()):
            return None
        with self._lock():
            # If the file was deleted, this process still has its content.
            before = read_last(self._folder) or self._latest
            # Race: another process may have written a later one meanwhile; an entry read from here on is later still.
            entry = self._reader.last_entry() or entry
            if before is not None and self._reader.mac_of(before.sequence) != before.mac:
                log.error(
                    "the end of the audit was cut off or exchanged at entry %d", before.sequence, extra={"action": "audit.cut"}
                )
                add_head(self._file, before)
            checkpoint = head_of(self._audit, entry, now)
            if before is None or before.mac != checkpoint.mac or not (self._folder / LAST).exists():
                write_atomic({self._folder / LAST: msgspec.json.encode(checkpoint) + b"\n"})
        self._latest = checkpoint
        return checkpoint

    def append(self, now: datetime, *, at_once: bool = False) -> Checkpoint | None:
        """Adds a permanent checkpoint when one is due and the chain has a newer entry. Raises ConfigError.

        at_once: whether one is due now.
        """
        entry = self._reader.last_entry()
        if self._last_kept is None:
            self._last_kept = max(
                read_checkpoints(self._file), key=lambda checkpoint: checkpoint.at_us, default=Checkpoint(sequence=0, mac="")
            )
        if entry is None or not (self._is_due(entry, to_us(now)) or (at_once and entry.mac != self._last_kept.mac)):
            return None
        checkpoint = head_of(self._audit, entry, now)
        with self._lock():
            add_head(self._file, checkpoint)
        self._last_kept = checkpoint
        return checkpoint

    def _is_due(self, entry: AuditEntry, now_us: int) -> bool:
        previous = self._last_kept
        if previous is None or previous.mac == entry.mac:
            return False
        return abs(entry.sequence - previous.sequence) >= _INTERVAL_ENTRIES or abs(now_us - previous.at_us) >= _INTERVAL_US

    def _lock(self) -> AbstractContextManager[None]:
        """Lets one process write at a time."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return file_lock(self._folder)


def head_of(audit: AuditLog, entry: AuditEntry, now: datetime) -> Checkpoint:
    """Returns the signed checkpoint of this entry."""
    at_us = to_us(now)
    return Checkpoint(
        sequence=entry.sequence, mac=entry.mac, at_us=at_us, signature=sign_checkpoint(audit.key, entry.sequence, entry.mac, at_us)
    )


def add_head(file: Path, checkpoint: Checkpoint) -> None:
    """Appends a checkpoint to a file; survives a power failure. Raises OSError."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        _drop_partial_line(handle)
        os.write(handle, msgspec.json.encode(checkpoint) + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    sync(file.parent)


def sign_checkpoint(key: AuditKey, sequence: int, mac: str, at_us: int) -> str:
    """Returns the signature of a checkpoint."""
    return key.pseudonymize(["head", sequence, mac, at_us])


def load_checkpoints(folder: Path) -> list[Checkpoint]:
    """Returns every checkpoint in this folder. Raises ConfigError."""
    last = read_last(folder)
    return [*read_checkpoints(folder / FILE), *([last] if last else [])]


def read_last(folder: Path) -> Checkpoint | None:
    """Returns the last checkpoint. Raises ConfigError."""
    return next(iter(read_checkpoints(folder / LAST)), None)


def read_checkpoints(file: Path) -> list[Checkpoint]:
    """Returns every checkpoint in a file; none without a file. Raises ConfigError for a file with other content.

    A partial last line, as left by a power failure, is ignored.
    """
    try:
        lines = read_plain_text(file, max_bytes=_MAX_FILE_BYTES).splitlines(keepends=True)
        return list(_decode_lines(lines))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as cause:
        raise ConfigError(reason=f"{file} holds something else than heads of the audit") from cause


def _decode_lines(lines: Iterable[str]) -> Iterator[Checkpoint]:
    for line in lines:
        try:
            if line.strip():
                yield msgspec.json.decode(line, type=Checkpoint)
        except msgspec.MsgspecError:
            if line.endswith("\n"):
                raise


def _drop_partial_line(handle: int) -> None:
    size = os.fstat(handle).st_size
    tail = os.pread(handle, _MAX_LINE_BYTES, max(0, size - _MAX_LINE_BYTES))
    if not tail.endswith(b"\n"):
        os.ftruncate(handle, size - len(tail) + tail.rfind(b"\n") + 1)
