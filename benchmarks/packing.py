"""How long packing the digits model takes, with proof, profile and figures; a fresh process each time, imports included.

Promised: ≤ 10 s. The model: a scikit-learn network on the library's own 1,797 digits, a third of them held out.

Usage: packing.py [--repeats 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contenders import relevo_environment
from measuring import conditions, verdict

_LIMIT_S = 10.0


def pack(out: Path) -> float:
    """Train (not timed), then pack; seconds of packing, its imports included."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    samples, truth = load_digits(return_X_y=True)
    train, held_out, train_truth, held_out_truth = train_test_split(samples, truth, test_size=1 / 3, random_state=1, stratify=truth)
    model = make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=300, random_state=1)).fit(train, train_truth)
    begin = time.perf_counter()
    import relevo

    relevo.pack(model, name="digits", samples=held_out, truth=held_out_truth, out=out)
    return time.perf_counter() - begin


def main() -> int:
    """Print the median; 1 when the promised figure was missed."""
    options = argparse.ArgumentParser(description="Packing.")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--once", type=Path, help="pack here, print the seconds and nothing else")
    chosen = options.parse_args()
    if chosen.once:
        print(pack(chosen.once))
        return 0
    print(conditions())
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as place:
        spans = [_in_a_fresh_process(Path(place) / f"digits-{number}") for number in range(chosen.repeats)]
    middle = statistics.median(spans)
    told = f"packed in {middle:.1f} s ({min(spans):.1f}–{max(spans):.1f}; promised: {_LIMIT_S:g})"
    return 0 if verdict(told, holds=middle <= _LIMIT_S) else 1


def _in_a_fresh_process(out: Path) -> float:
    command = [sys.executable, __file__, "--once", str(out)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **relevo_environment()})
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    sys.exit(main())
