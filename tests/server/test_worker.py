"""Background tasks of a worker restart after errors."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from relevo.server import worker
from relevo.server.worker import start_background_task

if TYPE_CHECKING:
    import pytest


def test_a_task_that_fails_is_told_and_begun_anew(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is logged with the task's name and the task restarts; cancellation still ends it."""
    monkeypatch.setattr(worker, "_RESTART_DELAY_S", 0.01)
    starts: list[int] = []
    at_last = asyncio.Event()

    async def follow() -> None:
        starts.append(len(starts))
        if len(starts) < 3:
            raise KeyError("unforeseen")
        at_last.set()
        await asyncio.sleep(3600)

    async def a_worker_s_life() -> None:
        task = start_background_task("follow people", follow)
        await at_last.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(asyncio.wait_for(a_worker_s_life(), 5))
    assert starts == [0, 1, 2]
    assert [one.getMessage() for one in caplog.records] == ["follow people failed and is begun anew"] * 2
