"""Working folders of sandboxes. Folders of killed imports are removed when the next import begins.

create folder ─ lock it ─► another import that can take the lock knows the owner has ended ─► removes the folder
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.util.locks import file_lock, is_locked

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "relevo-sandbox-"
_LOCK = "held"
#: Seconds after which a folder without a lock file counts as abandoned, not as one that is just being created.
_UNLOCKED_GRACE_S = 3600.0


@contextmanager
def sandbox_workdir() -> Iterator[Path]:
    """Provide an empty folder, removed at the end, or by a later import when this process is killed."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as outer, file_lock(Path(outer) / _LOCK):
        yield Path(outer)


def sweep(folder: Path) -> None:
    """Remove the folders that killed imports of this user left in `folder`."""
    for path in folder.glob(f"{PREFIX}*"):
        # Race: another import may sweep at the same time and remove it first.
        with suppress(OSError):
            status = path.lstat()
            if status.st_uid == os.geteuid() and path.is_dir() and not path.is_symlink() and _is_abandoned(path, status.st_mtime):
                shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path, modified_at: float) -> bool:
    try:
        return not is_locked(path / _LOCK)
    except FileNotFoundError:
        return time.time() - modified_at > _UNLOCKED_GRACE_S
