"""Heads of the audit, written down outside the database: a chain alone cannot show that its end was cut off.

loop, each second ──────┐
command, at each commit ┴─ look ─► last.json: the head, in the place of the one before, where the chain still holds that one
                                   else ─► heads.jsonl keeps the one before for ever, and the log tells of it
loop ─ keep ─ every so many links, and every hour ─► heads.jsonl: sequence, seal, moment, and a mark that only the key makes
known_heads(folder) ─► what `relevo audit verify` holds the chain against

A head is written down after the commit of its link, which is on the disk by then: whoever dies in between leaves a chain that is
longer than the heads know, and no power cut leaves a shorter one.
A copy of the files, or of `relevo audit head`, on another machine shows what somebody did who could write to this one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
from typing import TYPE_CHECKING

import msgspec

from relevo.errors import ConfigError
from relevo.store.files.blobs import sync_folder, write_atomic
from relevo.util.files import read_plain_text
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from relevo.store.audit.keys import AuditKey
    from relevo.store.audit.log import AuditLog
    from relevo.store.audit.reader import AuditEntry, AuditReader

log = logging.getLogger(__name__)

FILE = "heads.jsonl"
LAST = "last.json"
_EVERY_LINKS = 100
_EVERY_US = 3_600_000_000
_MOST_BYTES = 2**28
_MOST_LINE = 4096


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the last link of the chain was at a moment."""

    sequence: int
    seal: str
    at_us: int = 0  # when it was written down; microseconds since 1970, UTC
    mark: str = ""  # under the audit's key; "" for one that a person kept


class Checkpoints:
    """Writes heads down; lives as long as the process, safe for several processes. All methods raise DatabaseUnavailableError, OSError."""

    def __init__(self, folder: Path, trail: AuditReader, audit: AuditLog) -> None:
        self._folder = folder
        self._file = folder / FILE
        self._trail = trail
        self._audit = audit
        self._last: Checkpoint | None = None
        self._seen: Checkpoint | None = None

    def look(self, now: datetime) -> Checkpoint | None:
        """Write the head down in the place of the one before, when there is a new one. Raises ConfigError."""
        link = self._trail.head()
        if link is None or (self._seen is not None and link.seal == self._seen.seal and (self._folder / LAST).exists()):
            return None
        with self._alone():
            # Whoever takes the file away does not take what this process remembers of it.
            before = read_last(self._folder) or self._seen
            # Race: another process wrote a later one down meanwhile; what the chain holds from here on is later still.
            link = self._trail.head() or link
            if before is not None and self._trail.seal_of(before.sequence) != before.seal:
                log.error(
                    "the end of the audit was cut off or exchanged at entry %d", before.sequence, extra={"action": "audit.cut"}
                )
                add_head(self._file, before)
            head = head_of(self._audit, link, now)
            if before is None or before.seal != head.seal or not (self._folder / LAST).exists():
                write_atomic({self._folder / LAST: msgspec.json.encode(head) + b"\n"})
        self._seen = head
        return head

    def keep(self, now: datetime, *, at_once: bool = False) -> Checkpoint | None:
        """Add the head to those that stay when it is time, and there is a new one. Raises ConfigError."""
        link = self._trail.head()
        if self._last is None:
            self._last = max(read_heads(self._file), key=lambda head: head.at_us, default=Checkpoint(sequence=0, seal=""))
        if link is None or not (self._is_due(link, to_us(now)) or (at_once and link.seal != self._last.seal)):
            return None
        head = head_of(self._audit, link, now)
        with self._alone():
            add_head(self._file, head)
        self._last = head
        return head

    def _is_due(self, link: AuditEntry, now_us: int) -> bool:
        last = self._last
        if last is None or last.seal == link.seal:
            return False
        return abs(link.sequence - last.sequence) >= _EVERY_LINKS or abs(now_us - last.at_us) >= _EVERY_US

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process write at a time; a lock on the folder ends with whoever holds it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def head_of(audit: AuditLog, link: AuditEntry, now: datetime) -> Checkpoint:
    """The head that this link is, marked."""
    at_us = to_us(now)
    return Checkpoint(
        sequence=link.sequence, seal=link.seal, at_us=at_us, mark=sign_checkpoint(audit.key, link.sequence, link.seal, at_us)
    )


def add_head(file: Path, head: Checkpoint) -> None:
    """Add a line to a file of heads, safe from a power cut. Raises OSError."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        _drop_broken_line(handle)
        os.write(handle, msgspec.json.encode(head) + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(file.parent)


def sign_checkpoint(key: AuditKey, sequence: int, seal: str, at_us: int) -> str:
    """The mark of a head."""
    return key.mark(["head", sequence, seal, at_us])


def load_checkpoints(folder: Path) -> list[Checkpoint]:
    """Every head that was written down in this folder. Raises ConfigError."""
    last = read_last(folder)
    return [*read_heads(folder / FILE), *([last] if last else [])]


def read_last(folder: Path) -> Checkpoint | None:
    """The head that was written down last. Raises ConfigError."""
    return next(iter(read_heads(folder / LAST)), None)


def read_heads(file: Path) -> list[Checkpoint]:
    """Every head in a file; none where there is no file. Raises ConfigError for a file that holds something else.

    What a power cut left of a line at the end is none.
    """
    try:
        lines = read_plain_text(file, most=_MOST_BYTES).splitlines(keepends=True)
        return list(_decoded(lines))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as cause:
        raise ConfigError(reason=f"{file} holds something else than heads of the audit") from cause


def _decoded(lines: Iterable[str]) -> Iterator[Checkpoint]:
    for line in lines:
        try:
            if line.strip():
                yield msgspec.json.decode(line, type=Checkpoint)
        except msgspec.MsgspecError:
            if line.endswith("\n"):
                raise


def _drop_broken_line(handle: int) -> None:
    size = os.fstat(handle).st_size
    tail = os.pread(handle, _MOST_LINE, max(0, size - _MOST_LINE))
    if not tail.endswith(b"\n"):
        os.ftruncate(handle, size - len(tail) + tail.rfind(b"\n") + 1)
