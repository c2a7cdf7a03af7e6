"""Drafts: files that are written beside their place and renamed into it. A killed process leaves its drafts; a start removes them.

.new-<pid>-… · <name>.<pid> · <name>.<pid>.draft ─ is that process gone? ─► removed
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

_BEGINS = ".new-"
#: A draft's name, and the process that writes it. One without a number is nobody's any more.
_DRAFT = re.compile(
    r"\.new-(?:(?P<first>\d+)-)?.*|(?:people|routes|unserved|day|database-state|database-log)\.(?P<last>\d+)|.+\.(?P<count>\d+)\.draft"
)


def draft_prefix() -> str:
    """How the name of a draft of this process begins."""
    return f"{_BEGINS}{os.getpid()}-"


def sweep_drafts(folders: Iterable[Path]) -> None:
    """Remove what processes that are gone have left in these folders; what cannot be removed stays."""
    for folder in folders:
        with suppress(OSError):
            for path in list(folder.iterdir()):
                if _is_left(path.name):
                    _remove(path)


def _is_left(name: str) -> bool:
    found = _DRAFT.fullmatch(name)
    if found is None:
        return False
    writer = found["first"] or found["last"] or found["count"]
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
