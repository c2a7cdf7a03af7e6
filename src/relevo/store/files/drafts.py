"""Temporary files that are written next to their target and renamed. A killed process leaves its own; the next start removes them.

.new-<pid>-… · <name>.<pid> · <name>.<pid>.draft ─ has that process ended? ─► removed
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PREFIX = ".new-"
#: A draft's name with the id of its process. One without an id is always abandoned.
_DRAFT = re.compile(
    r"\.new-(?:(?P<first>\d+)-)?.*|(?:people|routes|unserved|day|database-state|database-log)\.(?P<last>\d+)|.+\.(?P<count>\d+)\.draft"
)


def draft_prefix() -> str:
    """Returns the name prefix of this process's drafts."""
    return f"{_PREFIX}{os.getpid()}-"


def sweep_drafts(folders: Iterable[Path]) -> None:
    """Removes the drafts of ended processes in these folders. Errors are ignored."""
    for folder in folders:
        with suppress(OSError):
            for path in list(folder.iterdir()):
                if _is_abandoned(path.name):
                    _remove(path)


def _is_abandoned(name: str) -> bool:
    match = _DRAFT.fullmatch(name)
    if match is None:
        return False
    writer = match["first"] or match["last"] or match["count"]
    return writer is None or not _is_alive(int(writer))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return pid != os.getpid()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
