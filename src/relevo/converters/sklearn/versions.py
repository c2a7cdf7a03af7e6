"""Compatibility table of scikit-learn releases: the Python and library versions that each needs."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

RELEASE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][0-9A-Za-z.!+-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatRow:
    """Compatibility of scikit-learn from one release on: the newest Python with wheels, and the bounds of its libraries."""

    since: tuple[int, int, int]  # from this release on
    python: tuple[int, int]
    numpy: str = ""
    scipy: str = ""


#: Newest first. Bounds of NumPy and SciPy: below the versions that removed something the release uses.
COMPATIBILITY = (
    CompatRow(since=(1, 7, 2), python=(3, 14)),
    CompatRow(since=(1, 5, 2), python=(3, 13)),
    CompatRow(since=(1, 5, 0), python=(3, 12)),
    CompatRow(since=(1, 3, 2), python=(3, 12), numpy="<2", scipy="<1.14"),
    CompatRow(since=(1, 3, 0), python=(3, 11), numpy="<2", scipy="<1.14"),
    CompatRow(since=(1, 1, 3), python=(3, 11), numpy="<1.25", scipy="<1.11"),
    CompatRow(since=(1, 1, 0), python=(3, 10), numpy="<1.25", scipy="<1.11"),
    CompatRow(since=(1, 0, 0), python=(3, 9), numpy="<1.24", scipy="<1.9"),
    CompatRow(since=(0, 24, 0), python=(3, 9), numpy="<1.20", scipy="<1.7"),
    CompatRow(since=(0, 22, 0), python=(3, 8), numpy="<1.20", scipy="<1.6"),
    CompatRow(since=(0, 19, 2), python=(3, 7), numpy="<1.17", scipy="<1.4"),
)
#: First release with wheels for a Python that supports the sandbox; it also reads files of earlier 0.19 releases.
_OLDEST = "0.19.2"


def time_of(version: str) -> CompatRow | None:
    """Returns the row of a scikit-learn version; None for versions before the table, or a text that is no version."""
    numbers = re.match(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?", version)
    if numbers is None:
        return None
    release = int(numbers[1]), int(numbers[2]), int(numbers[3] or 0)
    return next((row for row in COMPATIBILITY if release >= row.since), None)


def advice(source: str) -> str:
    """Returns the flags that import a file of an older scikit-learn, from its source ("scikit-learn 0.24.2"); or ""."""
    library, _, version = source.partition(" ")
    version = version.partition(",")[0].strip()
    if re.fullmatch(r"0\.19(\.[01])?", version):
        version = _OLDEST
    row = time_of(version) if library == "scikit-learn" else None
    if row is None or RELEASE.fullmatch(f"x=={version}") is None:
        return ""
    needs_python = sys.version_info[:2] > row.python
    return f"--with scikit-learn=={version}" + (f" --python python{row.python[0]}.{row.python[1]}" if needs_python else "")
