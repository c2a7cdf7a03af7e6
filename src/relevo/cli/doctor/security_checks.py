"""The doctor's look at what guards the records: whether the audit is whole, and whether what is sealed can be opened.

settings ─► audit · sealing ─► findings          a home that is not there yet has neither
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from relevo.cli.doctor.finding import Finding
from relevo.cli.translate import permission_text
from relevo.errors import RelevoError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.config import Settings
    from relevo.server.stores import Store

#: Links that are walked at once; a longer chain is left to `relevo audit verify`, which takes its time.
_MOST_LINKS = 50_000


def safeguards(settings: Settings) -> Iterator[Finding]:
    """Both findings."""
    from relevo import server

    try:
        if not settings.database_url and not settings.home.is_dir():
            return
        store = server.open_store(settings, begins=False)
    except (RelevoError, PermissionError):
        # The finding about the database says why.
        return
    try:
        yield _audit(settings, store)
        yield _sealing(settings, store)
    except RelevoError as error:
        yield Finding(what="records", verdict="fail", told=str(error))
    except PermissionError as cause:
        yield Finding(
            what="records", verdict="fail", told=permission_text(cause), mend="Run it as its owner, or change its rights."
        )
    finally:
        store.engine.dispose()


def _audit(settings: Settings, store: Store) -> Finding:
    from relevo.server.users_marker import had_users
    from relevo.store.audit import checkpoints, verify
    from relevo.store.audit import state as state_module

    last = store.trail.head()
    if last is not None and last.sequence > _MOST_LINKS:
        return Finding(what="audit", verdict="ok", told=f"{last.sequence} entries; `relevo audit verify` checks them all")
    kept, state = checkpoints.read_last(settings.audit_folder) is not None, state_module.read_state(store.engine)
    known = checkpoints.load_checkpoints(settings.audit_folder)
    past = had_users(settings.home)
    verdict = verify.verify(store.trail.links(), store.audit, known, state=state, kept=kept, past=past)
    if verdict.whole:
        told = f"whole: {verdict.links} entries, {verdict.heads} heads outside the database"
        return Finding(what="audit", verdict="ok", told=told)
    mend = "Somebody changed it, or this home lacks the key it was sealed with (keys/audit.key). `relevo audit verify` tells all."
    return Finding(what="audit", verdict="fail", told=verdict.faults[0].told, mend=mend)


def _sealing(settings: Settings, store: Store) -> Finding:
    from relevo.server.encryption_keys import VARIABLE
    from relevo.store.encryption import count_data_keys

    is_off, keys = settings.encrypt_inputs == "off", count_data_keys(store.engine)
    if is_off and not keys:
        return Finding(what="sealing", verdict="ok", told="off: inputs lie as they came (setting encrypt_inputs)")
    if find_spec("cryptography") is None:
        return Finding(what="sealing", verdict="fail", told="nothing here encrypts", mend="pip install 'relevo[sealing]'")
    # Without a master key none of them opens.
    closed = keys if store.sealing is None else store.sealing.closed_keys()
    if closed:
        mend = "Give the master key of that time: master_key_file, or the variable RELEVO_MASTER_KEY."
        return Finding(what="sealing", verdict="fail", told=f"keys wrapped by another master key: {closed}", mend=mend)
    if is_off:
        told = f"off in these settings, but inputs of this home were sealed; keys that open them: {keys}"
        mend = "If it was a flag of `relevo serve`, write encrypt_inputs into relevo.toml: other commands do not see flags."
        return Finding(what="sealing", verdict="warn", told=told, mend=mend)
    if not settings.master_key_file and not os.environ.get(VARIABLE):
        mend = "Let master_key_file name a file on another disk: whoever takes this one has both."
        return Finding(what="sealing", verdict="warn", told="on, with its master key in the home itself", mend=mend)
    return Finding(what="sealing", verdict="ok", told="on, and every key opens")
