"""Key files of a home, one for each key, stored outside the database.

write_key(path, secret) ─► complete or not written; an existing file stays, unless `instead`
load_or_create_key(path) ─┬ exists: 64 hex digits, readable by the owner only ─► 32 bytes
                          └ missing: generated, written, linked under its name: of concurrent processes one wins, all read its key
"""

from __future__ import annotations

import contextlib
import secrets
import stat
from typing import TYPE_CHECKING

from relevo.errors import ConfigError
from relevo.util.files import read_plain_text, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32
_GROUP_AND_OTHERS = 0o077
_MAX_BYTES = 4096
_UNKNOWN_CAUSE = "it cannot be made"


def load_or_create_key(path: Path, *, make: bool = True) -> bytes:
    """Returns the 32 bytes of a key file, created if missing. Raises ConfigError, whose message contains nothing of the key."""
    try:
        return _read(path)
    except FileNotFoundError:
        if not make:
            raise ConfigError(reason=f"the key file {path} is not there") from None
    write_key(path, secrets.token_bytes(KEY_BYTES))
    try:
        return _read(path)
    except FileNotFoundError:
        # The name is a dangling symbolic link.
        raise ConfigError(reason=f"the key file {path} cannot be read") from None


def write_key(path: Path, secret: bytes, *, instead: bool = False) -> None:
    """Writes a key file; survives a power failure. instead: replaces an existing file. Raises ConfigError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic({path: f"{secret.hex()}\n".encode()}, replace=instead)
    except OSError as cause:
        raise ConfigError(reason=f"the key file {path} cannot be made ({cause.strerror or _UNKNOWN_CAUSE})") from cause


def parse_key(text: str, source: str) -> bytes:
    """Decodes 64 hex digits to 32 bytes. source: where they come from, for the message. Raises ConfigError."""
    digits = text.strip()
    with contextlib.suppress(ValueError):
        if len(digits) == 2 * KEY_BYTES:
            return bytes.fromhex(digits)
    raise ConfigError(reason=f"{source} must hold {2 * KEY_BYTES} hex digits, as `openssl rand -hex {KEY_BYTES}` makes them")


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        text = read_plain_text(path, max_bytes=_MAX_BYTES)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(reason=f"the key file {path} cannot be read") from cause
    if stat.S_IMODE(mode) & _GROUP_AND_OTHERS:
        raise ConfigError(reason=f"others may read the key file {path}; close it: chmod 600 {path}")
    return parse_key(text, f"the key file {path}")
