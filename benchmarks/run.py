"""Every measurement, one after the other: what `make bench` runs.

    digits ─► photos ─► records ─► cold start ─► packing ─► soak        each prints its table and what was reached or missed

Usage: run.py [--quick] [--without-soak]           quick: short rounds, to see that everything runs; its figures mean little
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_SHORT = ("--seconds", "3", "--rounds", "2")
#: Script and its arguments for a short run.
_SCRIPTS: dict[str, tuple[str, ...]] = {
    "digits.py": _SHORT,
    "photos.py": _SHORT,
    "records.py": _SHORT,
    "coldstart.py": (),
    "packing.py": (),
    "soak.py": ("--seconds", "30"),
}


def main() -> int:
    """Run them all, whatever the ones before said; 1 when any missed its promise."""
    chosen = _options()
    missed = []
    for script, short in _SCRIPTS.items():
        if script == "soak.py" and chosen.without_soak:
            continue
        print(f"\n## {script}", flush=True)
        done = subprocess.run([sys.executable, str(_HERE / script), *(short if chosen.quick else ())], check=False)
        if done.returncode:
            missed.append(script)
    print(f"\nmissed: {', '.join(missed)}" if missed else "\nall reached")
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description="All benchmarks.")
    options.add_argument("--quick", action="store_true")
    options.add_argument("--without-soak", action="store_true")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
