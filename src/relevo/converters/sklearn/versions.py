"""When each scikit-learn was current: the Python and the libraries that belong to it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

RELEASE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][0-9A-Za-z.!+-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """When a scikit-learn was current: the newest Python it has wheels for, and the libraries it was built with."""

    since: tuple[int, int, int]  # from this release on
    python: tuple[int, int]
    numpy: str = ""
    scipy: str = ""


#: Newest first. Bounds of NumPy and SciPy: the last ones before something was taken away that the release uses.
TIMES = (
    Time(since=(1, 7, 2), python=(3, 14)),
    Time(since=(1, 5, 2), python=(3, 13)),
    Time(since=(1, 5, 0), python=(3, 12)),
    Time(since=(1, 3, 2), python=(3, 12), numpy="<2", scipy="<1.14"),
    Time(since=(1, 3, 0), python=(3, 11), numpy="<2", scipy="<1.14"),
    Time(since=(1, 1, 3), python=(3, 11), numpy="<1.25", scipy="<1.11"),
    Time(since=(1, 1, 0), python=(3, 10), numpy="<1.25", scipy="<1.11"),
    Time(since=(1, 0, 0), python=(3, 9), numpy="<1.24", scipy="<1.9"),
    Time(since=(0, 24, 0), python=(3, 9), numpy="<1.20", scipy="<1.7"),
    Time(since=(0, 22, 0), python=(3, 8), numpy="<1.20", scipy="<1.6"),
    Time(since=(0, 19, 2), python=(3, 7), numpy="<1.17", scipy="<1.4"),
)
#: The first release that has wheels for a Python in which the sandbox stands; it reads what its line wrote before.
_FIRST = "0.19.2"


def time_of(version: str) -> Time | None:
    """When a version of scikit-learn was current; None for one of before, or a text that is no version."""
    numbers = re.match(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?", version)
    if numbers is None:
        return None
    release = int(numbers[1]), int(numbers[2]), int(numbers[3] or 0)
    return next((time for time in TIMES if release >= time.since), None)


def advice(source: str) -> str:
    """The line that opens a file of an older scikit-learn, from what its bytes tell ("scikit-learn 0.24.2"); or nothing."""
    library, _, version = source.partition(" ")
    version = version.partition(",")[0].strip()
    if re.fullmatch(r"0\.19(\.[01])?", version):
        version = _FIRST
    time = time_of(version) if library == "scikit-learn" else None
    if time is None or RELEASE.fullmatch(f"x=={version}") is None:
        return ""
    old = sys.version_info[:2] > time.python
    return f"--with scikit-learn=={version}" + (f" --python python{time.python[0]}.{time.python[1]}" if old else "")
