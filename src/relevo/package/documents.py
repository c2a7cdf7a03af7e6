"""Reads card, metrics and figures of a package without loading the model.

    store, digest ─ manifest.json, whose hash is the digest ─► PackageDocuments ─ card, metrics or figure, hash verified ─► bytes

Only paths that the manifest names are read, so no file outside the package can be requested.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from relevo.domain.manifest import parse
from relevo.errors import DigestMismatchError, NotInPackageError, PackageError
from relevo.package.card.model_card import card_for
from relevo.package.layout import CARD, MANIFEST, MAX_MANIFEST_BYTES, METRICS, PROFILE
from relevo.package.promotion_guard import CHAMPION, Side, compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relevo.package.promotion_guard import Takeover

#: Maximum bytes of one document: a card of many thousand words, a confusion matrix of a thousand labels.
_MAX_BYTES = 64 * 1024**2
_FIGURE = re.compile(r"figures/([A-Za-z0-9_][A-Za-z0-9._-]{0,95}\.png)")
_PNG = b"\x89PNG\r\n\x1a\n"


class PackageDocuments:
    """The documents of one package. Lifetime: the request."""

    def __init__(self, store: PackageStore, digest: str) -> None:
        """Reads the manifest. Raises NotInPackageError, DigestMismatchError."""
        with _not_found():
            self._stored = store.open(digest)
            self.manifest_bytes = read_verified(self._stored, MANIFEST, digest, MAX_MANIFEST_BYTES)
        manifest: dict[str, Any] = msgspec.json.decode(self.manifest_bytes)
        self._files: dict[str, str] = manifest["files"]

    def card(self, language: str) -> str:
        """The model card, untrusted Markdown. A generated card is translated to `language`, one of catalog.LANGUAGES.

        Raises NotInPackageError, DigestMismatchError, InvalidManifestError.
        """
        return card_for(
            self._document(CARD).decode("utf-8", "replace"),
            parse(self.manifest_bytes),
            self.metrics(),
            [path for path in self._files if path.startswith("figures/")],
            profiled=PROFILE in self._files,
            language=language,
        )

    def metrics(self) -> dict[str, Any]:
        """Metrics on held-out rows; empty when none were measured. Raises DigestMismatchError."""
        if METRICS not in self._files:
            return {}
        metrics = msgspec.json.decode(self._document(METRICS))
        return metrics if isinstance(metrics, dict) else {}

    def side(self) -> Side:
        """Manifest and metrics for the comparison before a promotion. Raises DigestMismatchError, InvalidManifestError."""
        return Side(manifest=parse(self.manifest_bytes), metrics=self.metrics())

    def figures(self) -> list[str]:
        """File names of the figures, sorted: "confusion.png"."""
        return sorted(match[1] for path in self._files if (match := _FIGURE.fullmatch(path)))

    def figure(self, name: str) -> bytes:
        """One figure, a PNG. Raises NotInPackageError, DigestMismatchError."""
        path = f"figures/{name}"
        if _FIGURE.fullmatch(path) is None:
            raise NotInPackageError
        content = self._document(path)
        if not content.startswith(_PNG):
            raise NotInPackageError
        return content

    def _document(self, path: str) -> bytes:
        if path not in self._files:
            raise NotInPackageError
        with _not_found():
            return read_verified(self._stored, path, self._files[path], _MAX_BYTES)


@contextmanager
def _not_found() -> Iterator[None]:
    """Maps a missing package or file to NotInPackageError."""
    try:
        yield
    except DigestMismatchError:
        raise
    except PackageError as cause:
        raise NotInPackageError from cause


def read_verified(stored: PackageFiles, path: str, digest: str, max_bytes: int) -> bytes:
    """One file whose SHA-256 is this digest. Raises DigestMismatchError, MissingFileError."""
    content = stored.read(path, max_bytes=max_bytes)
    if hashlib.sha256(content).hexdigest() != digest:
        raise DigestMismatchError(path=path)
    return content


class Registered(Protocol):
    """A version in the registry."""

    @property
    def digest(self) -> str:
        """Digest of its package."""


class Registry(Protocol):
    """The part of the registry that is used here; the registry is in a package of the same layer."""

    def version(self, model: str, number: int, /) -> Registered:
        """One version."""

    def aliases(self, model: str, /) -> dict[str, int]:
        """The version of each alias."""


class PackageFiles(Protocol):
    """The files of a stored package."""

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """One file, not verified. Raises MissingFileError."""


class PackageStore(Protocol):
    """A store of packages by digest: a local folder, or an object store."""

    def put(self, digest: str, files: Mapping[str, bytes]) -> None:
        """Stores a verified package; complete and durable when this returns. An existing digest is not stored again."""

    def open(self, digest: str) -> PackageFiles:
        """The files of a package. Raises PackageError when it is not stored."""


def takeover_of(registry: Registry, packages: PackageStore, model: str, version: int) -> Takeover | None:
    """Compares the champion with the new version; None without a champion, if it is the same version, or if a package is missing.

    Raises ModelNotFoundError, VersionNotFoundError.
    """
    candidate = registry.version(model, version)
    champion_number = registry.aliases(model).get(CHAMPION)
    if champion_number in (None, version):
        return None
    champion = registry.version(model, champion_number)
    try:
        before, after = (PackageDocuments(packages, entry.digest).side() for entry in (champion, candidate))
    except (PackageError, NotInPackageError):
        # An unreadable package is rejected when it is loaded; the current version then stays in service.
        return None
    return compare(model, (champion_number, version), before, after)
