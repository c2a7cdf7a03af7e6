"""Result of one check of `relevo doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check. Its fields are the JSON output. Lifetime: one command."""

    subject: str
    verdict: str  # ok | warn | fail
    message: str
    suggestion: str = ""  # how to fix it; empty if nothing is to be fixed
