"""Keys of the audit log: the current key, and former keys, which verify older entries.

    keys/audit.key         the current key
    keys/audit-ID.key      a former key, or the next one
    keys/marks.key         the first key, saved when it was replaced: pseudonyms made with it are stored in rows permanently

A new key is written under its id before the chain refers to it, and becomes audit.key after that commit: a process killed in
between leaves a chain whose every entry can be verified.
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
_DIGEST_CHARS = 32
_ID_CHARS = 16
_ID = re.compile(f"[0-9a-f]{{{_ID_CHARS}}}")


@dataclass(frozen=True, slots=True)
class AuditKey:
    """One key of the audit log."""

    secret: bytes

    @property
    def id(self) -> str:
        """Public id of the key, stored in entries."""
        return self.pseudonymize("audit key")[:_ID_CHARS]

    def mac(self, row: dict[str, Any]) -> str:
        """Returns the MAC of an entry."""
        return hmac.new(self.secret, msgspec.json.encode(row, order="sorted"), hashlib.sha256).hexdigest()

    def pseudonymize(self, value: object) -> str:
        """Returns the keyed digest of a value; equal values have equal digests."""
        data = b"mark " + msgspec.json.encode(value, order="sorted")
        return hmac.new(self.secret, data, hashlib.sha256).hexdigest()[:_DIGEST_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotation:
    """Result of a key rotation."""

    before: str  # id of the former key
    after: str  # id of the new key
    entry: int  # sequence of the first entry with the new key


class AuditKeyRing:
    """The key files in their folder. Lifetime: the process; caches nothing. All methods raise ConfigError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self) -> bytes:
        """Returns the current key; creates it if there is none."""
        return load_or_create_key(self._folder / _CURRENT)

    def pseudonym_key(self, current: bytes) -> bytes:
        """Returns the key of keyed digests and pseudonyms: the first one."""
        path = self._folder / _MARKS
        return load_or_create_key(path, make=False) if path.exists() else current

    def all(self) -> list[bytes]:
        """Returns every key that was part of a rotation."""
        return [load_or_create_key(path, make=False) for path in sorted(self._folder.glob("audit-*.key"))]

    def find(self, key_id: str) -> bytes | None:
        """Returns the key of this id, or None."""
        path = self._path(key_id)
        return load_or_create_key(path, make=False) if _ID.fullmatch(key_id) and path.exists() else None

    def generate(self) -> bytes:
        """Generates the next key and writes it and the current key under their ids."""
        current, new = self.current(), secrets.token_bytes(KEY_BYTES)
        write_key(self._folder / _MARKS, current)
        for secret in (current, new):
            write_key(self._path(AuditKey(secret).id), secret)
        return new

    def activate(self, secret: bytes) -> None:
        """Makes this key the current one."""
        write_key(self._folder / _CURRENT, secret, instead=True)

    def _path(self, key_id: str) -> Path:
        return self._folder / f"audit-{key_id}.key"
