"""The digits job: a PNG goes in, class, confidence, probabilities and query id come out. Relevo beside its peers, in one run.

Promised: at least mosec's rate and no worse p99, at least twice FastAPI + ONNX Runtime. The share of the in-process limit is told.
Relevo validates and records prediction and input before it answers; none of the peers does.

Usage: digits.py [--seconds 10] [--rounds 5] [--connections 32] [--only NAME …] [--without-relevo] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import jobs
from contenders import digits_contenders, import_image_model
from inprocess import best_limit
from measuring import conditions, interleaved, median, one_round, ratio, save, table, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from measuring import Load

LIMIT = "in-process limit"


def main() -> int:
    """Measure, print Markdown and verdicts; 1 when a promised figure was missed."""
    chosen = _options()
    job = jobs.digits()
    print(conditions())
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as place:
        home = None if chosen.without_relevo else Path(place) / "home"
        model = Path(place) / "digits.onnx"
        model.write_bytes(job.onnx)
        if home is not None:
            import_image_model(job, home)
        contenders = digits_contenders(job, model, home)
        parts: dict[str, Callable[[], Load]] = {
            name: partial(one_round, contender, seconds=chosen.seconds, connections=chosen.connections, warm_up=chosen.warm_up)
            for name, contender in contenders.items()
            if not chosen.only or any(wanted in name for wanted in chosen.only)
        }
        parts[LIMIT] = partial(best_limit, job, seconds=chosen.seconds / 2)
        seen = interleaved(parts, chosen.rounds)
    print(table(seen, contenders))
    save(chosen.json, "digits", seen, connections=chosen.connections, seconds=chosen.seconds)
    return 0 if _verdicts(seen) else 1


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description="Digits, side by side.")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--warm-up", type=float, default=2.0)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--only", nargs="*", default=[])
    options.add_argument("--without-relevo", action="store_true")
    options.add_argument("--json", type=Path)
    return options.parse_args()


def _verdicts(seen: Mapping[str, list[Load]]) -> bool:
    reached = [verdict("no request failed", holds=all(load.failed == 0 for loads in seen.values() for load in loads))]
    for one, other, least in (
        ("relevo raw", "mosec raw", 1.0),
        ("relevo raw", "mosec-patient raw", 1.0),
        ("relevo raw", "fastapi raw", 2.0),
        ("relevo form", "fastapi form", 2.0),
    ):
        if one in seen and other in seen:
            times = ratio(seen, one, other)
            reached.append(verdict(f"{one} has {times:.2f} times the rate of {other} (promised: {least:g})", holds=times >= least))
    if "relevo raw" in seen and "mosec raw" in seen:
        ours, theirs = median(seen["relevo raw"]).p99, median(seen["mosec raw"]).p99
        reached.append(verdict(f"p99 {ours:.2f} ms, mosec {theirs:.2f} ms", holds=ours <= theirs))
    for name in seen:
        if name != LIMIT:
            print(f"         {name}: {ratio(seen, name, LIMIT):.0%} of the in-process limit")
    return all(reached)


if __name__ == "__main__":
    sys.exit(main())
