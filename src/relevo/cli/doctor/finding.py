"""What one check of `relevo doctor` saw."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check saw."""

    what: str
    verdict: str  # ok | warn | fail
    told: str
    mend: str = ""  # how, where something is to be mended
