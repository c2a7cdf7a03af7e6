"""Whether a model is quicker with its rows one by one: on a processor the rows of a wide network push each other out of the cache.

    one row, some rows ─ timed in turn, the quickest of a few ─► rows to give the session at once; None where more are never dearer

A batch still leaves together and is recorded together; only the session sees its rows in parts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds a row takes where the call itself, some 20 µs, no longer counts.
_HEAVY_S = 0.0005
#: Beyond this the measurement would hold a swap up.
_TOO_HEAVY_S = 0.1
_TOGETHER = 8
_TRIES = 3


def best_batch_size(run: Callable[[Sequence[Any]], object], row: Any) -> int | None:
    """1 where rows cost less one by one than eight at a time, else None. run: as the model's; a few calls, none over a second."""
    alone = _quickest(run, [row])
    if not _HEAVY_S <= alone <= _TOO_HEAVY_S:
        return None
    together = _quickest(run, [row] * _TOGETHER) / _TOGETHER
    return 1 if min(alone, _quickest(run, [row])) < together else None


def _quickest(run: Callable[[Sequence[Any]], object], rows: Sequence[Any]) -> float:
    return min(_timed(run, rows) for _ in range(_TRIES))


def _timed(run: Callable[[Sequence[Any]], object], rows: Sequence[Any]) -> float:
    begin = time.perf_counter()
    run(rows)
    return time.perf_counter() - begin
