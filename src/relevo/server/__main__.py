"""`python -m relevo.server`: runs a whole server as a child process, started by `relevo.server.start_server`."""

from __future__ import annotations

import sys

from relevo.server.subprocess import main

if __name__ == "__main__":
    sys.exit(main())
