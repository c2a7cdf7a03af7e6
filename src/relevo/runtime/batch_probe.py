"""Measures whether a model is faster one row at a time: the rows of a wide network evict each other from the CPU cache.

    one row, eight rows ─ timed alternately, the minimum of a few runs ─► rows per session call; None if batches are never slower

The rows of a batch are still answered and recorded together; only the session receives them in parts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds per row above which the overhead of a call, about 20 µs, is negligible.
_MIN_ROW_S = 0.0005
#: Seconds per row above which the measurement would delay a swap.
_MAX_ROW_S = 0.1
_BATCH_ROWS = 8
_RUNS = 3


def best_batch_size(run: Callable[[Sequence[Any]], object], row: Any) -> int | None:
    """1 if rows cost less one by one than eight at a time, else None. run: the model's; a few calls, none above a second."""
    single_s = _min_time_s(run, [row])
    if not _MIN_ROW_S <= single_s <= _MAX_ROW_S:
        return None
    batched_s = _min_time_s(run, [row] * _BATCH_ROWS) / _BATCH_ROWS
    return 1 if min(single_s, _min_time_s(run, [row])) < batched_s else None


def _min_time_s(run: Callable[[Sequence[Any]], object], rows: Sequence[Any]) -> float:
    return min(_time_s(run, rows) for _ in range(_RUNS))


def _time_s(run: Callable[[Sequence[Any]], object], rows: Sequence[Any]) -> float:
    start = time.perf_counter()
    run(rows)
    return time.perf_counter() - start
