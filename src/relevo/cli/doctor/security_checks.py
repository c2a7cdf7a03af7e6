"""Security checks of `relevo doctor`: integrity of the audit log, and whether encrypted inputs can be decrypted.

settings ─► audit · sealing ─► findings          none for a home that does not exist yet
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

#: Audit entries that are verified here; a longer log is left to `relevo audit verify`.
_MAX_ENTRIES = 50_000


def security_checks(settings: Settings) -> Iterator[Finding]:
    """Runs both checks."""
    from relevo import server

    try:
        if not settings.database_url and not settings.home.is_dir():
            return
        store = server.open_store(settings, begins=False)
    except (RelevoError, PermissionError):
        # The finding about the database reports the cause.
        return
    try:
        yield _audit(settings, store)
        yield _encryption(settings, store)
    except RelevoError as error:
        yield Finding(subject="records", verdict="fail", message=str(error))
    except PermissionError as cause:
        yield Finding(
            subject="records",
            verdict="fail",
            message=permission_text(cause),
            suggestion="Run it as its owner, or change its rights.",
        )
    finally:
        store.engine.dispose()


def _audit(settings: Settings, store: Store) -> Finding:
    from relevo.server.home import had_users
    from relevo.store.audit import checkpoints, verify
    from relevo.store.audit import state as state_module

    last = store.audit_reader.last_entry()
    if last is not None and last.sequence > _MAX_ENTRIES:
        return Finding(subject="audit", verdict="ok", message=f"{last.sequence} entries; `relevo audit verify` checks them all")
    has_checkpoint, state = checkpoints.read_last(settings.audit_folder) is not None, state_module.read_state(store.engine)
    saved = checkpoints.load_checkpoints(settings.audit_folder)
    had_some = had_users(settings.home)
    report = verify.verify(store.audit_reader.entries(), store.audit, saved, state=state, has_file=has_checkpoint, past=had_some)
    if report.is_whole:
        detail = f"whole: {report.links} entries, {report.checkpoints} heads outside the database"
        return Finding(subject="audit", verdict="ok", message=detail)
    mend = "Somebody changed it, or this home lacks the key it was sealed with (keys/audit.key). `relevo audit verify` tells all."
    return Finding(subject="audit", verdict="fail", message=report.faults[0].message, suggestion=mend)


def _encryption(settings: Settings, store: Store) -> Finding:
    from relevo.server.stores import MASTER_KEY_VARIABLE
    from relevo.store.encryption import count_data_keys

    is_off, keys = settings.encrypt_inputs == "off", count_data_keys(store.engine)
    if is_off and not keys:
        return Finding(subject="sealing", verdict="ok", message="off: inputs lie as they came (setting encrypt_inputs)")
    if find_spec("cryptography") is None:
        return Finding(
            subject="sealing", verdict="fail", message="nothing here encrypts", suggestion="pip install 'relevo[sealing]'"
        )
    # Without a master key no data key can be unwrapped.
    unreadable = keys if store.encryption is None else store.encryption.undecryptable_keys()
    if unreadable:
        mend = "Give the master key of that time: master_key_file, or the variable RELEVO_MASTER_KEY."
        return Finding(
            subject="sealing", verdict="fail", message=f"keys wrapped by another master key: {unreadable}", suggestion=mend
        )
    if is_off:
        detail = f"off in these settings, but inputs of this home were sealed; keys that open them: {keys}"
        mend = "If it was a flag of `relevo serve`, write encrypt_inputs into relevo.toml: other commands do not see flags."
        return Finding(subject="sealing", verdict="warn", message=detail, suggestion=mend)
    if not settings.master_key_file and not os.environ.get(MASTER_KEY_VARIABLE):
        mend = "Let master_key_file name a file on another disk: whoever takes this one has both."
        return Finding(subject="sealing", verdict="warn", message="on, with its master key in the home itself", suggestion=mend)
    return Finding(subject="sealing", verdict="ok", message="on, and every key opens")
