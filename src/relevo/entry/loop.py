"""Entry of a loop process; started by the supervisor, never by hand."""

from __future__ import annotations

from relevo.compose import run_loop

if __name__ == "__main__":
    run_loop()
