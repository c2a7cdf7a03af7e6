"""Restarts a worker's endless asyncio tasks after an error: polling of the store, housekeeping.

name, create() ─► endless coroutine ─ raises ─► logged, created again after a second
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

_RESTART_DELAY_S = 1.0


def start_background_task(name: str, create: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Runs an endless coroutine until it is cancelled. create: creates the coroutine; called again after each error."""
    return asyncio.create_task(_restart_on_error(name, create), name=name)


async def _restart_on_error(name: str, create: Callable[[], Awaitable[None]]) -> None:
    # A task that ends silently would leave revoked keys valid and new versions unloaded while predictions go on.
    while True:
        try:
            await create()
        except Exception:
            log.exception("%s failed and is begun anew", name, extra={"action": "side_task_failed", "task": name})
        await asyncio.sleep(_RESTART_DELAY_S)
