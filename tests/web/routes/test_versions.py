"""Version endpoints: card, metrics, manifest and figures of a package, and no other files."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.web_app import DIGITS, build_world, served

from relevo.store.files.packages import PackageStore
from relevo.testing import memory_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relevo.package.package import Package

_PNG = b"\x89PNG\r\n\x1a\n"


def put_with_figure(packages: PackageStore, package: Package) -> str:
    """Stores the package with one figure and one file that only has its extension; returns the digest."""
    files = package.files()
    manifest = json.loads(files["manifest.json"])
    for name, content in (("figures/confusion.png", _PNG + b"dots"), ("figures/page.png", b"<script>")):
        files[name] = content
        manifest["files"][name] = hashlib.sha256(content).hexdigest()
    files["manifest.json"] = json.dumps(manifest).encode()
    digest = hashlib.sha256(files["manifest.json"]).hexdigest()
    packages.put(digest, files)
    return digest


def digest_of(reader: httpx.Client) -> str:
    return str(httpx.get(str(reader.base_url).rstrip("/")).json()["digest"])


@pytest.fixture
def packages(tmp_path: Path) -> PackageStore:
    return PackageStore(tmp_path / "packages")


@pytest.fixture
def reader(packages: PackageStore, digits_package: Package) -> Iterator[httpx.Client]:
    """A client of a server whose model `digits` has a real package as version 2; that of version 1 is missing."""
    digest = put_with_figure(packages, digits_package)
    with memory_store() as store:
        world = build_world(store, [DIGITS], packages)
        store.registry.add(model="digits", digest=digest, summary={}, author="test", at=datetime.now(UTC))
        with served(world.app) as address, httpx.Client(base_url=f"{address}/models/digits/versions/2", timeout=10) as client:
            yield client


def test_card_metrics_and_manifest(reader: httpx.Client, digits_package: Package) -> None:
    """Responses equal the package's files; the manifest byte for byte."""
    card = reader.get("/card")
    assert card.headers["content-type"] == "text/markdown; charset=utf-8"
    assert card.content == digits_package.read("card.md")
    assert reader.get("/metrics").json() == digits_package.metrics
    manifest = reader.get("/manifest")
    assert hashlib.sha256(manifest.content).hexdigest() == digest_of(reader)


def test_a_card_comes_in_the_callers_language(packages: PackageStore, digits_package: Package) -> None:
    """The same card is served in English and Spanish, with Vary for caches."""
    packages.put(digits_package.digest, digits_package.files())
    with memory_store() as store:
        world = build_world(store, [DIGITS], packages)
        store.registry.add(model="digits", digest=digits_package.digest, summary={}, author="test", at=datetime.now(UTC))
        with served(world.app) as address, httpx.Client(base_url=f"{address}/models/digits/versions/2", timeout=10) as client:
            english, spanish = (client.get("/card", headers={"accept-language": language}) for language in ("en", "es"))
    assert english.content == digits_package.read("card.md")
    assert "Recibe una imagen y responde una de 10 etiquetas." in spanish.text
    assert "accept-language" in spanish.headers["vary"]


def test_pictures(reader: httpx.Client) -> None:
    """A figure is a PNG download; a file that is no PNG is not found."""
    assert reader.get("/figures").json() == {"figures": ["confusion.png", "page.png"]}
    picture = reader.get("/figures/confusion.png")
    assert picture.content == _PNG + b"dots"
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["content-disposition"].startswith("attachment")
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert reader.get("/figures/page.png").status_code == 404


@pytest.mark.parametrize("name", ["..%2fmodel.onnx", "model.onnx", "%2e%2e%2fcard.md", "roc.png", "%00.png", "a" * 200])
def test_nothing_else_of_the_disk(reader: httpx.Client, name: str) -> None:
    """Paths outside the figures are rejected, however they are encoded."""
    assert reader.get(f"/figures/{name}").status_code in {404, 422}


def test_what_is_not_here(reader: httpx.Client) -> None:
    """A missing package and an unknown version have different errors."""
    elsewhere = str(reader.base_url).replace("versions/2", "versions/1")
    assert httpx.get(f"{elsewhere}card").json()["code"] == "not_in_package"
    assert httpx.get(f"{elsewhere}card".replace("versions/1", "versions/9")).json()["code"] == "version_not_found"


def test_a_changed_paper_is_refused(reader: httpx.Client, tmp_path: Path) -> None:
    """A file whose digest differs from the manifest is not served."""
    path = tmp_path / "packages" / digest_of(reader) / "card.md"
    path.write_text("# Trust me")
    assert reader.get("/card").json()["code"] == "file_tampered"
