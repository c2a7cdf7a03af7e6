"""`relevo verify`: the report of a valid package, and the error of an invalid one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relevo.domain.manifest import FORMAT
from relevo.errors import DigestMismatchError, PackageError
from relevo.package.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.package import Package


def test_a_good_package_is_reported_in_figures(digits_package: Package, tmp_path: Path) -> None:
    """Name, digest, files, number of golden examples, and their largest difference."""
    digits_package.write(tmp_path / "digits.zip")
    report = verify(tmp_path / "digits.zip")
    assert (report.name, report.digest, report.format) == ("digits", digits_package.digest, FORMAT)
    assert report.files == len(digits_package.paths())
    assert report.golden == 32
    assert report.largest_difference <= report.tolerance
    assert report.profiled


def test_a_changed_package_is_refused(small_folder: Path) -> None:
    """Rejects a card with one additional byte."""
    assert not verify(small_folder).profiled
    with (small_folder / "card.md").open("ab") as card:
        card.write(b".")
    with pytest.raises(DigestMismatchError):
        verify(small_folder)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """Rejects an empty folder."""
    with pytest.raises(PackageError):
        verify(tmp_path)


def test_the_seal_is_what_sha256sum_reads(small_folder: Path) -> None:
    """The digest file has the format of `sha256sum`: hash, two spaces, name."""
    digest, name = (small_folder / "manifest.sha256").read_text(encoding="ascii").split()
    assert name == "manifest.json"
    assert verify(small_folder).digest == digest
