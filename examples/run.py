"""`make example NAME=churn`: train on the real data, package, serve, ask as documented, and check every promise.

python -m examples.run NAME [--work FOLDER] [--limit N] [--json]        exit code 0 only if all of it held
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from examples.running import EXAMPLES, ExampleError, run_example

if TYPE_CHECKING:
    from examples.running import Outcome


def main() -> int:
    """Run the example named on the command line."""
    known = sorted(path.parent.name for path in EXAMPLES.glob("*/check.py"))
    asked = argparse.ArgumentParser(description="Run one example from its data to its last answer.")
    asked.add_argument("name", choices=known)
    asked.add_argument("--work", type=Path, help="folder in which NAME/ is made anew (default: example-home)")
    asked.add_argument("--limit", type=int, help="train on at most this many examples; figures are then not judged")
    asked.add_argument("--json", action="store_true", help="print the outcome as JSON")
    given = asked.parse_args()
    work = given.work or EXAMPLES.parent / "example-home"
    try:
        outcome = run_example(given.name, work, limit=given.limit, tell=_tell_errors if given.json else _tell)
    except ExampleError as failed:
        sys.stderr.write(f"error: {failed}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    show(outcome, as_json=given.json)
    return 1 if outcome.problems else 0


def _tell(line: str) -> None:
    print(line, flush=True)


def _tell_errors(line: str) -> None:
    sys.stderr.write(line + "\n")


def show(outcome: Outcome, *, as_json: bool) -> None:
    """The outcome for people, or as JSON."""
    if as_json:
        print(json.dumps(dataclasses.asdict(outcome), indent=2))
        return
    print(f"training  {outcome.training}, on data: {outcome.data}")
    for figure in outcome.figures:
        print(f"held out  {figure}")
    print(f"asked     {outcome.asked} documented curl lines")
    for problem in outcome.problems:
        sys.stderr.write(f"error: {problem}\n")
    print(f"{outcome.name:<9} {'all held' if not outcome.problems else 'did NOT hold'}")


if __name__ == "__main__":
    sys.exit(main())
