"""Heads of the audit, written down outside the database: a chain alone cannot show that its end was cut off.

loop ─ keep(now) ─ every so many links, and every hour ─► heads.jsonl: sequence, seal, moment, and a mark that only the key makes
read_heads(file) ─► what `relevo audit verify` holds the chain against

A copy of the file, or of `relevo audit head`, on another machine shows what somebody did who could write to this one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from relevo.errors import ConfigRefused
from relevo.plain_files import read_plain_text
from relevo.store.blobs import sync_folder
from relevo.store.moments import microseconds

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from relevo.store.audit import Audit
    from relevo.store.trail import Link, Trail

FILE = "heads.jsonl"
_EVERY_LINKS = 100
_EVERY_US = 3_600_000_000
_MOST_BYTES = 2**28


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the last link of the chain was at a moment."""

    sequence: int
    seal: str
    at_us: int = 0  # when it was written down; microseconds since 1970, UTC
    mark: str = ""  # under the audit's key; "" for one that a person kept


class Heads:
    """Writes heads down; lives as long as the loop."""

    def __init__(self, folder: Path, trail: Trail, audit: Audit) -> None:
        self._file = folder / FILE
        self._trail = trail
        self._audit = audit
        self._last: Head | None = None

    def keep(self, now: datetime, *, at_once: bool = False) -> Head | None:
        """Write the head down when it is time, and there is a new one. Raises StoreUnavailable, ConfigRefused, OSError."""
        link = self._trail.head()
        if self._last is None:
            self._last = max(read_heads(self._file), key=lambda head: head.at_us, default=Head(sequence=0, seal=""))
        if link is None or not (self._is_due(link, microseconds(now)) or (at_once and link.seal != self._last.seal)):
            return None
        self._last = self._written(link, microseconds(now))
        return self._last

    def _is_due(self, link: Link, now_us: int) -> bool:
        last = self._last
        if last is None or last.seal == link.seal:
            return False
        return abs(link.sequence - last.sequence) >= _EVERY_LINKS or abs(now_us - last.at_us) >= _EVERY_US

    def _written(self, link: Link, now_us: int) -> Head:
        head = Head(
            sequence=link.sequence, seal=link.seal, at_us=now_us, mark=mark_of(self._audit, link.sequence, link.seal, now_us)
        )
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, msgspec.json.encode(head) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(self._file.parent)
        return head


def mark_of(audit: Audit, sequence: int, seal: str, at_us: int) -> str:
    """The mark of a head."""
    return audit.mark(["head", sequence, seal, at_us])


def read_heads(file: Path) -> list[Head]:
    """Every head in a file; none where there is no file. Raises ConfigRefused for a file that holds something else."""
    try:
        lines = read_plain_text(file, most=_MOST_BYTES).splitlines()
        return [msgspec.json.decode(line, type=Head) for line in lines if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as cause:
        raise ConfigRefused(reason=f"{file} holds something else than heads of the audit") from cause
