"""Verifies a package for `relevo verify`: integrity of its files, and its golden tests.

path ─ open (every check) ─ replay the golden examples ─► Report | PackageError that names the problem
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
    """Result of a successful verification."""

    name: str
    digest: str
    format: int
    files: int  # whose SHA-256 was compared, without the manifest
    golden: int  # number of golden examples
    largest_difference: float  # in units of the scores
    tolerance: float
    profiled: bool


def verify(path: str | Path) -> Report:
    """Verifies a folder or .zip. Raises a subclass of PackageError."""
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
