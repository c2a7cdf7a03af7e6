"""The package store: packages are complete or absent, and stored once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from relevo.errors import DatabaseUnavailableError, PackageError
from relevo.store.files.packages import PackageStore

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "ab" * 32


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "golden").mkdir(parents=True)
    (folder / "manifest.json").write_bytes(b"{}")
    (folder / "golden" / "inputs.bin").write_bytes(bytes(5000))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_package_is_found_by_its_digest(tmp_path: Path, package: Path) -> None:
    """A stored package is a byte-for-byte copy, independent of its source."""
    shelf = PackageStore(tmp_path / "packages")
    place = shelf.put(package, DIGEST)
    assert place == shelf.path(DIGEST) == tmp_path / "packages" / DIGEST
    assert contents(place) == contents(package)


def test_putting_again_changes_nothing(tmp_path: Path, package: Path) -> None:
    """Storing the same digest again leaves the package unchanged."""
    shelf = PackageStore(tmp_path / "packages")
    first = shelf.put(package, DIGEST).stat()
    assert shelf.put(package, DIGEST).stat().st_ino == first.st_ino


def test_many_put_at_once(tmp_path: Path, package: Path) -> None:
    """Concurrent processes that store one package create one folder and leave no temporary files."""
    with ThreadPoolExecutor(4) as pool:
        places = set(pool.map(lambda _: PackageStore(tmp_path / "packages").put(package, DIGEST), range(12)))
    assert list((tmp_path / "packages").iterdir()) == list(places)
    assert contents(places.pop()) == contents(package)


def test_a_failed_copy_leaves_nothing(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a disk error there is no partial package, and the next attempt succeeds."""
    shelf = PackageStore(tmp_path / "packages")

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DatabaseUnavailableError):
        shelf.put(package, DIGEST)
    assert list((tmp_path / "packages").iterdir()) == []
    monkeypatch.undo()
    assert contents(shelf.put(package, DIGEST)) == contents(package)


@pytest.mark.parametrize("digest", ["", "..", "../" + "a" * 61, "AB" * 32, "ab" * 32 + "/"])
def test_only_digests_are_names(tmp_path: Path, package: Path, digest: str) -> None:
    """A name that is no digest is rejected, so that no path leaves the folder."""
    shelf = PackageStore(tmp_path / "packages")
    with pytest.raises(PackageError):
        shelf.put(package, digest)
    with pytest.raises(PackageError):
        shelf.path(digest)


def test_a_missing_package_is_an_error(tmp_path: Path) -> None:
    """A missing package is an error that names its digest."""
    with pytest.raises(PackageError, match="abababababab"):
        PackageStore(tmp_path).path(DIGEST)
