"""Erasing from this machine, whether a server runs in the home or not.

erased in the store ─┬ nobody serves this home ─► journals shipped without it, the log emptied
                     └ a server runs ───────────► marker: it begins new journals, ships the old ones, and empties the log
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.domain.audit import LOCAL_ACTOR
from relevo.errors import ConfigError
from relevo.recording.journal import remove_damaged, remove_kept, request_rotation
from relevo.recording.reader import JournalReader, is_writer_dead
from relevo.recording.shipper import Shipper
from relevo.server.stores import open_store, utc_now
from relevo.store.db.engine import truncate_wal
from relevo.store.files.key_files import load_or_create_key

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.config import Settings
    from relevo.store.erasure import ErasureReport


def erase_offline(settings: Settings, subject: str, *, why: str, write_anew: bool = False) -> ErasureReport:
    """Erase a subject by its name. write_anew: have nothing of it in PostgreSQL's tables either. Raises DatabaseUnavailableError."""
    store = open_store(settings)
    reader = JournalReader(settings.spool_folder)
    workers = [path for path in settings.spool_folder.glob("*") if path.is_dir()]
    erased = store.erasing.erase(store.erasing.pseudonym(subject), at=utc_now(), by=LOCAL_ACTOR, reason=why)
    if all(map(is_writer_dead, workers)):
        # Nobody serves this home, so nobody would ship what lies there, nor empty the log.
        Shipper(reader, store.history).ship()
        truncate_wal(store.engine)
    remove_damaged(settings.spool_folder)
    remove_kept(settings.spool_folder)
    request_rotation(settings.spool_folder)
    if write_anew:
        store.erasing.write_anew()
    store.engine.dispose()
    return erased


def rewrap_offline(settings: Settings, to: Path) -> int:
    """Wrap every data key by the master key in another file. Raises ConfigError while a server runs here, InputUndecryptableError."""
    if any(path.is_dir() and not is_writer_dead(path) for path in settings.spool_folder.glob("*")):
        raise ConfigError(reason="a server runs in this home; stop it before its master key is changed")
    store = open_store(settings, begins=False)
    if store.sealing is None:
        raise ConfigError(reason="nothing was ever sealed in this home")
    keys = store.sealing.rewrap(load_or_create_key(to, make=False), store.audit, at=utc_now(), by=LOCAL_ACTOR)
    truncate_wal(store.engine)
    store.engine.dispose()
    return keys
