"""Keys of this home, each a file of its own beside the database and never in it.

put_key(path, secret) ─► there whole, or not at all; one that is there already stays, unless another shall take its place
key_from(path) ─┬ there: 64 hex digits, nobody else's to read ─► 32 bytes
                └ not there: drawn, written whole, linked under its name: of several who make it at once one wins, all read that one
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from relevo.errors import ConfigError
from relevo.store.files.blobs import sync_folder
from relevo.store.files.drafts import draft_prefix
from relevo.util.files import read_plain_text

KEY_BYTES = 32
_OF_OTHERS = 0o077
_MOST = 4096
_NEVER_WRITTEN = "it cannot be made"


def load_or_create_key(path: Path, *, make: bool = True) -> bytes:
    """The 32 bytes that a key file holds, made when it is not there. Raises ConfigError, which repeats nothing of the key."""
    try:
        return _read(path)
    except FileNotFoundError:
        if not make:
            raise ConfigError(reason=f"the key file {path} is not there") from None
    write_key(path, secrets.token_bytes(KEY_BYTES))
    try:
        return _read(path)
    except FileNotFoundError:
        # Its name is taken by a link to nothing.
        raise ConfigError(reason=f"the key file {path} cannot be read") from None


def write_key(path: Path, secret: bytes, *, instead: bool = False) -> None:
    """Write a key file, safe from a power cut. instead: in the place of one that is there. Raises ConfigError."""
    try:
        _put(path, secret, instead=instead)
    except OSError as cause:
        raise ConfigError(reason=f"the key file {path} cannot be made ({cause.strerror or _NEVER_WRITTEN})") from cause


def parse_key(text: str, source: str) -> bytes:
    """The 32 bytes that 64 hex digits stand for. source: names where they came from. Raises ConfigError."""
    digits = text.strip()
    with contextlib.suppress(ValueError):
        if len(digits) == 2 * KEY_BYTES:
            return bytes.fromhex(digits)
    raise ConfigError(reason=f"{source} must hold {2 * KEY_BYTES} hex digits, as `openssl rand -hex {KEY_BYTES}` makes them")


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        text = read_plain_text(path, most=_MOST)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(reason=f"the key file {path} cannot be read") from cause
    if stat.S_IMODE(mode) & _OF_OTHERS:
        raise ConfigError(reason=f"others may read the key file {path}; close it: chmod 600 {path}")
    return parse_key(text, f"the key file {path}")


def _put(path: Path, secret: bytes, *, instead: bool) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=draft_prefix(), dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secret.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        if instead:
            os.replace(draft, path)  # noqa: PTH105 - of one name by another, as the line above and below
        else:
            # Race: another process makes it, too; then its key counts, and this one was never used.
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        sync_folder(path.parent)
    finally:
        Path(draft).unlink(missing_ok=True)
