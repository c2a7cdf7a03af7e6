"""The commands: each reads its flags, lets compose, project or client do the work, and shows the outcome.

    argv ─► main ─► a group's file ─► compose (here) | client (--url) ─► a table, or JSON with --json
                        RelevoError ─► one sentence on standard error, exit code 1        wrong usage ─► exit code 2

Every file imports at its top only what `relevo --help` needs; the rest is loaded by the command that runs.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Entry point of `relevo`."""
    # Before anything can load the library: later is too late.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # While our own files load nothing is begun: Ctrl-C just ends the process, without a trace of where it was.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from relevo.cli.app import run

    signal.signal(signal.SIGINT, before)
    sys.exit(run(sys.argv[1:]))
