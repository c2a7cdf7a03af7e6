"""Entry of a worker process; started by the supervisor, never by hand."""

from __future__ import annotations

from relevo.compose import run_worker

if __name__ == "__main__":
    run_worker()
