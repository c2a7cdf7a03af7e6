"""Whether a home ever had users, known without its database: whose loss must close the home, and never open it.

first user made ─ after the commit ─┐
store opened, people followed ──────┴─ note_users ─► had_users in the home: being there is all it tells
                                      and people.json is removed where a worker wrote there that everybody is let in
had_users(home) ─ the file, or people.json of a worker that knew of some
check_users(settings, engine) ─ had some, and the database knows none ─► UsersLostError, before anything is written into it
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from relevo.domain.access import AccessSnapshot
from relevo.errors import ConfigError, UsersLostError
from relevo.util.state_file import load_state

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from relevo.config import Settings
    from relevo.store.audit.reader import AuditReader

log = logging.getLogger(__name__)

#: In the home, as long as it lasts.
HAD_USERS_FILE = "had_users"
#: What the workers remember of the people, in the home.
PEOPLE_FILE = "people.json"
_WORDS = b"This home had users. Without them in its database it lets nobody in.\n"


def had_users(home: Path) -> bool:
    """Whether the files of this home tell of users, whatever its database says."""
    if os.path.lexists(home / HAD_USERS_FILE):
        return True
    known = load_state(home / PEOPLE_FILE, AccessSnapshot)
    return known is not None and not known.open


def note_users(home: Path) -> None:
    """Keep it that there are users; safe from a power cut. What a full disk does not take is tried again by whoever looks next."""
    from relevo.store.files.blobs import sync_folder

    _forget_open(home)
    place = home / HAD_USERS_FILE
    if os.path.lexists(place):
        return
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(handle, _WORDS)
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(home)
    except OSError as cause:
        log.warning("it was not written down that there are users: %s", cause.strerror, extra={"action": "users.noted"})


def _forget_open(home: Path) -> None:
    """Remove what workers remembered of the time before the first user: with it, the loss of one file would open the home."""
    place = home / PEOPLE_FILE
    known = load_state(place, AccessSnapshot)
    if known is None or not known.open:
        return
    try:
        place.unlink(missing_ok=True)
    except OSError as cause:
        log.warning("%s of before the first user stays: %s", place.name, cause.strerror, extra={"action": "users.noted"})


def check_users(settings: Settings, engine: Engine) -> None:
    """Hold the database against what the home knows, without writing. Raises UsersLostError, DatabaseUnavailableError."""
    from relevo.store.auth.users import knows_users
    from relevo.store.db.engine import file_of

    # SQLite writes into an empty file by looking at it.
    if not _is_empty(file_of(engine)) and knows_users(engine):
        note_users(settings.home)
    elif had_users(settings.home):
        raise UsersLostError


def _is_empty(file: Path | None) -> bool:
    try:
        return file is not None and file.stat().st_size == 0
    except OSError:
        return True


def past_is_there(settings: Settings, trail: AuditReader) -> bool:
    """Whether the database holds the first head of the audit that the home wrote down; one that does not is not this home's.

    Raises DatabaseUnavailableError.
    """
    from relevo.store.audit.checkpoints import load_checkpoints

    try:
        # The first: an older backup holds it, too, and what is written down of another database comes after it.
        first = min(load_checkpoints(settings.audit_folder), key=lambda head: head.at_us, default=None)
    except ConfigError:
        # Damaged: it tells of a past, and no database can be held against it.
        return False
    return first is None or trail.seal_of(first.sequence) == first.seal
