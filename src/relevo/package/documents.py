"""What a person reads of a package, one file at a time: its model is neither read nor opened.

    folder, digest ─ manifest.json, whose hash is the digest ─► Papers ─ one of PAPERS or a figure, whose hash it pins ─► bytes

A path counts only when the manifest names it, so nothing outside the package can be asked for.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from relevo.domain.manifest import parse
from relevo.errors import DigestMismatchError, NotInPackageError, PackageError
from relevo.package.card.model_card import card_for
from relevo.package.layout import CARD, MANIFEST, MAX_MANIFEST_BYTES, METRICS, PROFILE
from relevo.package.promotion_guard import CHAMPION, Side, compare
from relevo.util.files import read_plain

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.promotion_guard import Takeover

#: Bytes of one paper: a card of many thousand words, a confusion matrix of a thousand labels.
MOST_BYTES = 64 * 1024**2
_FIGURE = re.compile(r"figures/([A-Za-z0-9_][A-Za-z0-9._-]{0,95}\.png)")
_PNG = b"\x89PNG\r\n\x1a\n"


class PackageDocuments:
    """The papers of one package; lives as long as a request."""

    def __init__(self, folder: Path, digest: str) -> None:
        """Read the manifest. Raises NotInPackageError, DigestMismatchError."""
        self._folder = folder
        self.manifest_bytes = _read(folder, MANIFEST, digest, MAX_MANIFEST_BYTES)
        manifest: dict[str, Any] = msgspec.json.decode(self.manifest_bytes)
        self._files: dict[str, str] = manifest["files"]

    def card(self, language: str) -> str:
        """The model card, Markdown, in a language of catalog.LANGUAGES where it is ours; it may be a stranger's words.

        Raises NotInPackageError, DigestMismatchError, InvalidManifestError.
        """
        return card_for(
            self._paper(CARD).decode("utf-8", "replace"),
            parse(self.manifest_bytes),
            self.metrics(),
            [path for path in self._files if path.startswith("figures/")],
            profiled=PROFILE in self._files,
            language=language,
        )

    def metrics(self) -> dict[str, Any]:
        """What was measured on held-out rows; empty when nothing was. Raises DigestMismatchError."""
        if METRICS not in self._files:
            return {}
        found = msgspec.json.decode(self._paper(METRICS))
        return found if isinstance(found, dict) else {}

    def side(self) -> Side:
        """What a takeover is judged by. Raises DigestMismatchError, InvalidManifestError."""
        return Side(manifest=parse(self.manifest_bytes), metrics=self.metrics())

    def figures(self) -> list[str]:
        """Names of the pictures, sorted: "confusion.png"."""
        return sorted(found[1] for path in self._files if (found := _FIGURE.fullmatch(path)))

    def figure(self, name: str) -> bytes:
        """One picture, a PNG. Raises NotInPackageError, DigestMismatchError."""
        path = f"figures/{name}"
        if _FIGURE.fullmatch(path) is None:
            raise NotInPackageError
        content = self._paper(path)
        if not content.startswith(_PNG):
            raise NotInPackageError
        return content

    def _paper(self, path: str) -> bytes:
        if path not in self._files:
            raise NotInPackageError
        return _read(self._folder, path, self._files[path], MOST_BYTES)


def _read(folder: Path, path: str, digest: str, most: int) -> bytes:
    try:
        content = read_plain(folder / path, most=most)
    except OSError as cause:
        raise NotInPackageError from cause
    if hashlib.sha256(content).hexdigest() != digest:
        raise DigestMismatchError(path=path)
    return content


class Registered(Protocol):
    """A version as the registry tells it."""

    @property
    def digest(self) -> str:
        """Identity of its package."""


class Registry(Protocol):
    """What is asked of the registry, which is on this floor, too."""

    def version(self, model: str, number: int, /) -> Registered:
        """One version."""

    def aliases(self, model: str, /) -> dict[str, int]:
        """Where each alias stands."""


class Shelf(Protocol):
    """What is asked of the shelf."""

    def path(self, digest: str, /) -> Path:
        """Where the package lies."""


def takeover_of(registry: Registry, shelf: Shelf, model: str, version: int) -> Takeover | None:
    """The version that answers beside the one to come; None where nothing answers yet, or it is the same, or its package is away.

    Raises ModelNotFoundError, VersionNotFoundError.
    """
    coming = registry.version(model, version)
    stands = registry.aliases(model).get(CHAMPION)
    if stands in (None, version):
        return None
    answers = registry.version(model, stands)
    try:
        before, after = (PackageDocuments(shelf.path(one.digest), one.digest).side() for one in (answers, coming))
    except (PackageError, NotInPackageError):
        # What cannot be read is refused where it is loaded, and the one that answers goes on answering.
        return None
    return compare(model, (stands, version), before, after)
