"""A supervisor in a process of its own, whose children tell on standard output what they do.

python supervised.py KIND GRACE ─► lines "KIND pid event"

steady     lives until SIGTERM, then ends well        stubborn   takes no SIGTERM
dying      ends at once with code 3                   orphan     ends well when its parent is gone
slow       takes a moment to end                      final      is told to end after all others
"""

from __future__ import annotations

import os
import signal
import sys
import time

from relevo.server.supervisor import ProcessSpec, Supervisor, when_orphaned
from relevo.util.stop_flag import StopFlag


def tell(kind: str, event: str) -> None:
    """One line, whole."""
    os.write(1, f"{kind} {os.getpid()} {event}\n".encode())


def steady(_: int) -> None:
    """Live until told to end."""
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    tell("steady", f"nice={os.nice(0)}")
    stop.wait()
    tell("steady", "ended")


def stubborn(_: int) -> None:
    """Take no SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell("stubborn", "born")
    while True:
        time.sleep(1)


def dying(_: int) -> None:
    """End at once."""
    tell("dying", f"{time.monotonic():.3f}")
    os._exit(3)


def raising(_: int) -> None:
    """Climb out with an exception."""
    tell("raising", "born")
    raise ValueError("a child's own affair")


def orphan(life: int) -> None:
    """End when the parent is gone."""
    stop = StopFlag()
    when_orphaned(life, stop.set)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell("orphan", "born")
    stop.wait()
    tell("orphan", "alone")


def slow(_: int) -> None:
    """Take a moment to end."""
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    tell("slow", "born")
    stop.wait()
    time.sleep(0.5)
    tell("slow", "ended")


def final(_: int) -> None:
    """Tell when the turn came to end; it is the last."""
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    tell("final", "born")
    stop.wait()
    tell("final", "ended")


def main() -> None:
    """Supervise children of these kinds until SIGTERM."""
    kinds, grace = sys.argv[1].split(","), float(sys.argv[2])
    acts = {act.__name__: act for act in (steady, stubborn, dying, raising, orphan, slow, final)}
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    roles = [
        ProcessSpec(name=kind, target=acts[kind], nice=7 if kind == "steady" else 0, stop_last=kind == "final") for kind in kinds
    ]
    Supervisor(roles, grace_s=grace, died=lambda pid: tell("died", str(pid))).run(stop)
    tell("supervisor", "ended")


main()
