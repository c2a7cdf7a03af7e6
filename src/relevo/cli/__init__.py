"""Command-line interface: each command reads its flags, calls server, project or client, and prints the result.

    argv ─► main ─► commands/<group>.py ─► server (local) | client (--url) ─► table, or JSON with --json
                        RelevoError ─► one sentence on standard error, exit code 1        wrong usage ─► exit code 2

Modules import at the top only what `relevo --help` needs; each command imports the rest when it runs.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Entry point of `relevo`."""
    # Must be set before ONNX Runtime is imported.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # Ctrl-C during the imports ends the process without a traceback.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from relevo.cli.app import run

    signal.signal(signal.SIGINT, before)
    sys.exit(run(sys.argv[1:]))
