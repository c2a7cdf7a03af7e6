"""What a worker does beside answering, each for as long as it lives: following the store, keeping house.

name, begin() ─► a task that never ends ─ fails ─► told in the log, begun anew a moment later
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

_AGAIN_S = 1.0


def start_background_task(name: str, begin: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Run it until it is cancelled. begin: gives what runs for ever; called once more whenever that fails."""
    return asyncio.create_task(_restart_on_error(name, begin), name=name)


async def _restart_on_error(name: str, begin: Callable[[], Awaitable[None]]) -> None:
    # A task that dies without a word would leave revoked keys good and new versions unseen, while answers go on.
    while True:
        try:
            await begin()
        except Exception:
            log.exception("%s failed and is begun anew", name, extra={"action": "side_task_failed", "task": name})
        await asyncio.sleep(_AGAIN_S)
