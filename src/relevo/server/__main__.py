"""`python -m relevo.server`: a whole server as a child process; `compose.start_server` starts it."""

from __future__ import annotations

import sys

from relevo.server.subprocess import main

if __name__ == "__main__":
    sys.exit(main())
