"""The package store: packages are complete or absent, and stored once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from relevo.errors import DatabaseUnavailableError, MissingFileError, PackageError
from relevo.package.package import open_stored
from relevo.store.files.packages import PackageStore

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.documents import PackageStore as PackageStoreProtocol
    from relevo.package.package import Package

DIGEST = "ab" * 32
FILES = {"manifest.json": b"{}", "golden/inputs.bin": bytes(5000)}


class PackageStoreContract:
    """What every store of packages promises; a subclass gives an empty store as the fixture `packages`."""

    @pytest.fixture
    def packages(self) -> PackageStoreProtocol:
        """An empty store."""
        raise NotImplementedError

    def test_a_package_is_found_by_its_digest(self, packages: PackageStoreProtocol) -> None:
        """A stored package gives its files byte for byte."""
        packages.put(DIGEST, FILES)
        stored = packages.open(DIGEST)
        assert {path: stored.read(path, max_bytes=5000) for path in FILES} == FILES

    def test_a_verified_package_opens(self, packages: PackageStoreProtocol, digits_package: Package) -> None:
        """A package comes back as it was stored, verified."""
        packages.put(digits_package.digest, digits_package.files())
        assert open_stored(packages, digits_package.digest).files() == digits_package.files()

    def test_a_missing_or_large_file_is_an_error(self, packages: PackageStoreProtocol) -> None:
        """A file that is missing, or larger than the reader allows, is an error that names it."""
        packages.put(DIGEST, FILES)
        for path, limit in (("card.md", 100), ("golden/inputs.bin", 4999)):
            with pytest.raises(MissingFileError, match=path):
                packages.open(DIGEST).read(path, max_bytes=limit)

    def test_putting_again_changes_nothing(self, packages: PackageStoreProtocol) -> None:
        """Storing the same digest again leaves the package unchanged."""
        packages.put(DIGEST, FILES)
        packages.put(DIGEST, {"manifest.json": b"other"})
        assert packages.open(DIGEST).read("manifest.json", max_bytes=100) == b"{}"

    def test_many_put_at_once(self, packages: PackageStoreProtocol) -> None:
        """Concurrent writers of one package store it once and complete."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: packages.put(DIGEST, FILES), range(12)))
        assert packages.open(DIGEST).read("golden/inputs.bin", max_bytes=5000) == bytes(5000)

    @pytest.mark.parametrize("digest", ["", "..", "../" + "a" * 61, "AB" * 32, "ab" * 32 + "/"])
    def test_only_digests_are_names(self, packages: PackageStoreProtocol, digest: str) -> None:
        """A name that is no digest is rejected, so that no path leaves the store."""
        with pytest.raises(PackageError):
            packages.put(digest, FILES)
        with pytest.raises(PackageError):
            packages.open(digest)

    def test_a_missing_package_is_an_error(self, packages: PackageStoreProtocol) -> None:
        """A missing package is an error that names its digest."""
        with pytest.raises(PackageError, match="abababababab"):
            packages.open(DIGEST)


class TestLocalPackageStore(PackageStoreContract):
    """Packages in a local folder."""

    @pytest.fixture
    def packages(self, tmp_path: Path) -> PackageStoreProtocol:
        """An empty folder."""
        return PackageStore(tmp_path / "packages")

    def test_no_draft_remains(self, packages: PackageStoreProtocol, tmp_path: Path) -> None:
        """Concurrent writers leave one folder and no temporary files."""
        self.test_many_put_at_once(packages)
        assert [path.name for path in (tmp_path / "packages").iterdir()] == [DIGEST]

    def test_a_failed_write_leaves_nothing(
        self, packages: PackageStoreProtocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a disk error there is no partial package, and the next attempt succeeds."""

        def fail(_handle: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(DatabaseUnavailableError):
                packages.put(DIGEST, FILES)
        assert list((tmp_path / "packages").iterdir()) == []
        self.test_a_package_is_found_by_its_digest(packages)
