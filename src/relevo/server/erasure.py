"""Erasing from this machine, whether a server runs in the home or not.

erased in the store ─┬ nobody serves this home ─► journals shipped without it, the log emptied
                     └ a server runs ───────────► marker: it begins new journals, ships the old ones, and empties the log
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.domain.audit import HERE
from relevo.errors import ConfigRefused
from relevo.recording.journal import begin_anew, remove_damaged, remove_kept
from relevo.recording.reader import SpoolReader, writer_is_gone
from relevo.recording.shipper import Shipper
from relevo.server.stores import open_store, utc_now
from relevo.store.db.engine import truncate
from relevo.store.files.key_files import key_from

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.config import Settings
    from relevo.store.erasure import Erased


def erase_here(settings: Settings, subject: str, *, why: str, write_anew: bool = False) -> Erased:
    """Erase a subject by its name. write_anew: have nothing of it in PostgreSQL's tables either. Raises StoreUnavailable."""
    store = open_store(settings)
    reader = SpoolReader(settings.spool_folder)
    workers = [path for path in settings.spool_folder.glob("*") if path.is_dir()]
    erased = store.erasing.erase(store.erasing.pseudonym(subject), at=utc_now(), by=HERE, reason=why)
    if all(map(writer_is_gone, workers)):
        # Nobody serves this home, so nobody would ship what lies there, nor empty the log.
        Shipper(reader, store.history).ship()
        truncate(store.engine)
    remove_damaged(settings.spool_folder)
    remove_kept(settings.spool_folder)
    begin_anew(settings.spool_folder)
    if write_anew:
        store.erasing.write_anew()
    store.engine.dispose()
    return erased


def rewrap_here(settings: Settings, to: Path) -> int:
    """Wrap every data key by the master key in another file. Raises ConfigRefused while a server runs here, InputSealed."""
    if any(path.is_dir() and not writer_is_gone(path) for path in settings.spool_folder.glob("*")):
        raise ConfigRefused(reason="a server runs in this home; stop it before its master key is changed")
    store = open_store(settings, begins=False)
    if store.sealing is None:
        raise ConfigRefused(reason="nothing was ever sealed in this home")
    keys = store.sealing.rewrap(key_from(to, make=False), store.audit, at=utc_now(), by=HERE)
    truncate(store.engine)
    store.engine.dispose()
    return keys
