"""`relevo verify`: is this package what it was when it was packed, and does it still answer as it did?

path ─ open (every check) ─ replay the golden examples ─► Report | PackageError, naming what is wrong
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.package.drift_reference import read_profile
from relevo.package.layout import PROFILE
from relevo.package.package import open_package, replay_golden

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was checked, all of it good."""

    name: str
    digest: str
    format: int
    files: int  # whose SHA-256 were compared, the manifest not counted
    golden: int  # examples answered
    largest_difference: float  # in units of the scores
    tolerance: float
    profiled: bool


def verify(path: str | Path) -> Report:
    """Check a folder or .zip whole. Raises PackageError of many kinds."""
    package = open_package(path)
    profiled = PROFILE in package.manifest.files
    if profiled:
        read_profile(package.read(PROFILE))
    return Report(
        name=package.manifest.name,
        digest=package.digest,
        format=package.manifest.format,
        files=len(package.manifest.files),
        golden=len(package.golden),
        largest_difference=replay_golden(package),
        tolerance=package.manifest.golden_tolerance,
        profiled=profiled,
    )
