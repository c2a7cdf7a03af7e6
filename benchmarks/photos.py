"""The photo job: a JPEG of 500×375 pixels goes in, shrunk to 100×100×3 for a net of four convolutions.

Promised: at least 85 % of what decoding and inference alone reach on the same cores (`inprocess.py`), measured in turn.

Usage: photos.py [--seconds 10] [--rounds 5] [--connections 32] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import jobs
from contenders import import_image_model, relevo_server
from inprocess import best_limit
from measuring import conditions, interleaved, one_round, ratio, save, table, verdict

_SHARE = 0.85


def main() -> int:
    """Measure, print Markdown and the verdict; 1 when it was missed."""
    options = argparse.ArgumentParser(description="Photographs.")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    job = jobs.photos()
    print(conditions())
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as place:
        home = Path(place) / "home"
        import_image_model(job, home)
        contender = relevo_server("relevo", home, "/predict", job.raw())
        parts = {
            "relevo": partial(one_round, contender, seconds=chosen.seconds, connections=chosen.connections, warm_up=2.0),
            "limit": partial(best_limit, job, seconds=chosen.seconds / 2),
        }
        seen = interleaved(parts, chosen.rounds)
    print(table(seen, {"relevo": contender}, unit="photos/s"))
    save(chosen.json, "photos", seen, connections=chosen.connections, seconds=chosen.seconds)
    share = ratio(seen, "relevo", "limit")
    failed = sum(load.failed for load in seen["relevo"])
    reached = verdict(f"{share:.0%} of decoding and inference alone (promised: {_SHARE:.0%})", holds=share >= _SHARE)
    return 0 if verdict(f"{failed} requests failed", holds=failed == 0) and reached else 1


if __name__ == "__main__":
    sys.exit(main())
