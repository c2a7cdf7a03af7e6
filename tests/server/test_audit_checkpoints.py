"""Changes by a server get an audit checkpoint outside the database within about a second, also after kill -9 and key rotation."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
from PIL import Image
from tests.support.server import put, running, settings_of

import relevo.server
from relevo.server.admin import rotate_audit_key
from relevo.store.audit.checkpoints import load_checkpoints
from relevo.store.audit.verify import VerificationReport, verify

if TYPE_CHECKING:
    from relevo.config import Settings
    from relevo.package.package import Package
    from relevo.store.audit.reader import AuditEntry

#: Twice what is promised, for a busy machine.
_SOON_S = 2.0


def label(url: str, value: str) -> None:
    """Makes one prediction and labels it: one change by a worker."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(file, "PNG")
    answer = httpx.post(f"{url}/predict", files={"file": file.getvalue()}, timeout=30).json()
    httpx.put(f"{url}/predictions/{answer['query_id']}/label", json={"value": value}, timeout=30).raise_for_status()


def checked(settings: Settings) -> VerificationReport:
    """The result of `relevo audit verify`."""
    store = relevo.server.open_store(settings, migrated=True)
    try:
        return verify(store.audit_reader.entries(), store.audit, load_checkpoints(settings.audit_folder))
    finally:
        store.engine.dispose()


def descendants(pid: int) -> list[int]:
    """All descendant processes of this one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [result for child in map(int, children) for result in (child, *descendants(child))]


def test_a_change_is_witnessed_within_a_second(tmp_path: Path, digits_package: Package) -> None:
    """A label is soon covered by a checkpoint; after kill -9 the log verifies; a truncated log is detected."""
    settings = settings_of(tmp_path)
    put(settings, digits_package)
    server = relevo.server.start_server(settings)
    end: AuditEntry | None = None
    try:
        server.wait_ready(60)
        store = relevo.server.open_store(settings, migrated=True)
        for value in ("3", "4"):
            label(server.url, value)
            time.sleep(_SOON_S)
            end = store.audit_reader.last_entry()
            assert end is not None
            assert max(head.sequence for head in load_checkpoints(settings.audit_folder)) == end.sequence
        label(server.url, "5")
        for pid in [server.pid, *descendants(server.pid)]:
            os.kill(pid, signal.SIGKILL)
    finally:
        server.stop()
    assert checked(settings).is_whole
    assert end is not None
    with sqlite3.connect(settings.home / "relevo.db") as database:
        database.execute("DROP TRIGGER audit_refuse_delete")
        database.execute("DELETE FROM audit WHERE sequence >= ?", (end.sequence,))
    assert [fault.kind for fault in checked(settings).faults] == ["cut"]


def test_a_running_server_takes_the_new_key(tmp_path: Path, digits_package: Package) -> None:
    """After a key rotation, a running server signs its next change with the new key, and the log verifies."""
    with running(tmp_path, digits_package) as server:
        settings = settings_of(tmp_path)
        label(server.url, "3")
        done = rotate_audit_key(settings)
        label(server.url, "4")
        store = relevo.server.open_store(settings, migrated=True)
        end = store.audit_reader.last_entry()
        assert end is not None
        assert (end.action, end.key) == ("label.give", done.after)
        store.engine.dispose()
    verdict = checked(settings)
    assert (verdict.faults, verdict.checkpoints > 0) == ([], True)
