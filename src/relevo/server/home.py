"""The home: its folders, and the marker file that it has users, so that the loss of its database never opens the server.

Settings ─ make_home ─► folders, readable by the owner only
first user created ─ after the commit ──┐
store opened, access snapshot refreshed ┴─ note_users ─► marker file had_users in the home; its existence is all that counts,
                                           and a people.json that allows anonymous access is removed
had_users(home) ─ the marker file exists, or people.json contains users
check_users(settings, engine) ─ marker, but no users in the database ─► UsersLostError, before the database is written to
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from typing import TYPE_CHECKING

from relevo.domain.access import AccessSnapshot
from relevo.errors import ConfigError, UsersLostError
from relevo.util.files import load_state, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy import Engine

    from relevo.config import Settings
    from relevo.store.audit.reader import AuditReader

log = logging.getLogger(__name__)

#: File in the home where the workers cache the routes.
ROUTES_FILE = "routes.json"
_OWNER_ONLY, _GROUP_AND_OTHERS = 0o700, 0o077
#: Marker file in the home; never removed.
HAD_USERS_FILE = "had_users"
#: File in the home where the workers cache the access snapshot.
PEOPLE_FILE = "people.json"
_CONTENT = b"This home had users. Without them in its database it lets nobody in.\n"


def make_home(settings: Settings) -> None:
    """Creates the folder of this home, or restricts an existing one to its owner. Raises ConfigError when it cannot be used."""
    home = settings.home
    try:
        if not home.is_dir():
            home.parent.mkdir(parents=True, exist_ok=True)
            home.mkdir(mode=_OWNER_ONLY, exist_ok=True)
    except OSError as cause:
        raise ConfigError(reason=f"the folder {home} cannot be made ({cause.strerror})") from cause
    _check_folders(settings)
    _restrict_to_owner(home, _folders(settings))


def check_home(settings: Settings) -> None:
    """Checks before long work whether this home can be used; creates nothing. Raises ConfigError as `make_home` does."""
    from relevo.package.archive import write_error

    home = settings.home
    problem = None if os.path.lexists(home) else write_error(home.parent)
    if problem is not None:
        raise ConfigError(reason=f"the folder {home} cannot be made ({problem})")
    _check_folders(settings)


def _folders(settings: Settings) -> tuple[Path, ...]:
    return (
        settings.spool_folder,
        settings.telemetry_folder,
        settings.packages_folder,
        settings.blobs_folder,
        settings.keys_folder,
    )


def _check_folders(settings: Settings) -> None:
    for folder in (settings.home, *_folders(settings)):
        if os.path.lexists(folder):
            _check_folder(folder)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigError(reason=f"{folder} is no folder; move it away, or choose another --home")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(reason=f"the folder {folder} cannot be written; choose another --home, or mend its rights")


def _restrict_to_owner(home: Path, folders: Iterable[Path]) -> None:
    """Restricts the stored inputs to the owner. A home that is also a project folder keeps its own permissions."""
    for path in (*folders, home / ROUTES_FILE, *home.glob("relevo.db*")):
        _restrict_file(path)
    if (home / "relevo.db").exists() and not (home / "relevo.toml").exists():
        _restrict_file(home)


def _restrict_file(path: Path) -> None:
    # Ignores files that do not exist or belong to another user.
    with contextlib.suppress(OSError):
        mode = path.stat(follow_symlinks=False).st_mode
        if mode & _GROUP_AND_OTHERS and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~_GROUP_AND_OTHERS)


def had_users(home: Path) -> bool:
    """Whether the files of this home show that it has had users, whatever its database contains."""
    if os.path.lexists(home / HAD_USERS_FILE):
        return True
    snapshot = load_state(home / PEOPLE_FILE, AccessSnapshot)
    return snapshot is not None and not snapshot.no_users


def note_users(home: Path) -> None:
    """Writes the marker file durably (fsync). After an error, such as a full disk, the next call tries again."""
    _remove_anonymous_snapshot(home)
    marker = home / HAD_USERS_FILE
    if os.path.lexists(marker):
        return
    try:
        write_atomic({marker: _CONTENT})
    except OSError as cause:
        log.warning("it was not written down that there are users: %s", cause.strerror, extra={"action": "users.noted"})


def _remove_anonymous_snapshot(home: Path) -> None:
    """Removes an access snapshot from before the first user: with it, the loss of the marker file would open the server."""
    file = home / PEOPLE_FILE
    snapshot = load_state(file, AccessSnapshot)
    if snapshot is None or not snapshot.no_users:
        return
    try:
        file.unlink(missing_ok=True)
    except OSError as cause:
        log.warning("%s of before the first user stays: %s", file.name, cause.strerror, extra={"action": "users.noted"})


def check_users(settings: Settings, engine: Engine) -> None:
    """Compares the database with the marker file, without writing to it. Raises UsersLostError, DatabaseUnavailableError."""
    from relevo.store.auth.users import knows_users
    from relevo.store.db.engine import file_of

    # SQLite writes to an empty file when it reads it.
    if not _is_empty(file_of(engine)) and knows_users(engine):
        note_users(settings.home)
    elif had_users(settings.home):
        raise UsersLostError


def _is_empty(file: Path | None) -> bool:
    try:
        return file is not None and file.stat().st_size == 0
    except OSError:
        return True


def has_first_checkpoint(settings: Settings, reader: AuditReader) -> bool:
    """Whether the audit log in the database contains the first checkpoint of this home; otherwise it is another home's database.

    Raises DatabaseUnavailableError.
    """
    from relevo.store.audit.checkpoints import load_checkpoints

    try:
        # The first one, because older backups contain it too, and checkpoints of another database come after it.
        first = min(load_checkpoints(settings.audit_folder), key=lambda checkpoint: checkpoint.at_us, default=None)
    except ConfigError:
        # A corrupt file proves that there were checkpoints, but no database can be compared with it.
        return False
    return first is None or reader.mac_of(first.sequence) == first.mac
