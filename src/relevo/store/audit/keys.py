"""Keys of the audit: the one that seals now, and those before it, by which old links are still checked.

    keys/audit.key         seals now
    keys/audit-ID.key      sealed before, or is about to
    keys/marks.key         the first of all, once it was replaced: marks of it stand in rows for ever

A new key is on the disk under its id before the chain speaks of it, and becomes audit.key after that was committed: whoever is
killed in between leaves a chain whose every link can be checked.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.store.files.key_files import KEY_BYTES, load_or_create_key, write_key

if TYPE_CHECKING:
    from pathlib import Path

_CURRENT = "audit.key"
_MARKS = "marks.key"
_MARK_LETTERS = 32
_ID_LETTERS = 16
_ID = re.compile(f"[0-9a-f]{{{_ID_LETTERS}}}")


@dataclass(frozen=True, slots=True)
class AuditKey:
    """One key of the audit."""

    secret: bytes

    @property
    def id(self) -> str:
        """How links name it, without giving it away."""
        return self.mark("audit key")[:_ID_LETTERS]

    def seal(self, row: dict[str, Any]) -> str:
        """What a link's seal must be."""
        return hmac.new(self.secret, msgspec.json.encode(row, order="sorted"), hashlib.sha256).hexdigest()

    def mark(self, thing: object) -> str:
        """What stands for something: equal things have equal marks."""
        data = b"mark " + msgspec.json.encode(thing, order="sorted")
        return hmac.new(self.secret, data, hashlib.sha256).hexdigest()[:_MARK_LETTERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotation:
    """Which key took the place of which."""

    before: str  # ids, as links name them
    after: str
    entry: int  # the first that the new one sealed


class AuditKeyRing:
    """The keys in their folder; lives as long as the process, keeps nothing. All methods raise ConfigError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self) -> bytes:
        """The key that seals, made when there is none."""
        return load_or_create_key(self._folder / _CURRENT)

    def marking(self, current: bytes) -> bytes:
        """The key that marks are made with: the first one."""
        place = self._folder / _MARKS
        return load_or_create_key(place, make=False) if place.exists() else current

    def all(self) -> list[bytes]:
        """Every key that was ever replaced or took the place of another."""
        return [load_or_create_key(place, make=False) for place in sorted(self._folder.glob("audit-*.key"))]

    def find(self, key_id: str) -> bytes | None:
        """The key of this id; None where it is not here."""
        place = self._named(key_id)
        return load_or_create_key(place, make=False) if _ID.fullmatch(key_id) and place.exists() else None

    def draw(self) -> bytes:
        """A new key, on the disk under its id, as the one that it will replace."""
        current, new = self.current(), secrets.token_bytes(KEY_BYTES)
        write_key(self._folder / _MARKS, current)
        for secret in (current, new):
            write_key(self._named(AuditKey(secret).id), secret)
        return new

    def choose(self, secret: bytes) -> None:
        """Make a key the one that seals."""
        write_key(self._folder / _CURRENT, secret, instead=True)

    def _named(self, key_id: str) -> Path:
        return self._folder / f"audit-{key_id}.key"
