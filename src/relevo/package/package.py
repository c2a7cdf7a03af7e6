"""A package from disk to a model that answers: read, verify, audit, and only then construct.

    folder | .zip ─ reading ─► bytes ─ seal ─► manifest ─ digests ─► ONNX audit ─► Package ─ load_runnable ─► RunnableModel

Everything is verified on the bytes that are then used: what changes on disk afterwards changes nothing here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.domain.manifest import Manifest, parse
from relevo.errors import (
    DigestMismatchError,
    InvalidInputError,
    InvalidManifestError,
    MissingFileError,
    PackageError,
    UnexpectedFileError,
)
from relevo.package.archive_reader import read_files
from relevo.package.archive_writer import write_package
from relevo.package.golden import Golden, read_golden, replay
from relevo.package.layout import MANIFEST, MAX_MANIFEST_BYTES, METRICS, MODEL, SEAL
from relevo.package.onnx_validation import audit
from relevo.runtime.model import RunnableModel
from relevo.util.records import is_record, is_table, record_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.domain.decision import DecisionResult
    from relevo.runtime.image import ImageLimits
    from relevo.runtime.record_encoder import Remark

#: Rows that `predict_many` gives the session at once.
_BATCH = 256


class Package:
    """An opened, verified package; lives as long as its holder wants, and never looks at the disk again."""

    def __init__(
        self, manifest: Manifest, manifest_bytes: bytes, files: Mapping[str, bytes], golden: Golden, folder: Path | None
    ) -> None:
        """Hold what `open_package` verified; use that, not this."""
        self.manifest = manifest
        #: SHA-256 of manifest.json, in hex: the identity.
        self.digest = hashlib.sha256(manifest_bytes).hexdigest()
        self._manifest_bytes = manifest_bytes
        self.golden = golden
        #: Where it was opened, when that was a folder.
        self.folder = folder
        self._files = files
        self._runnable: RunnableModel | None = None

    def __repr__(self) -> str:
        """Name and short digest."""
        return f"<Package {self.manifest.name} {self.digest[:12]}>"

    @property
    def onnx(self) -> bytes:
        """The model."""
        return self._files[MODEL]

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured on held-out data; empty when nothing was."""
        if METRICS not in self._files:
            return {}
        try:
            metrics = msgspec.json.decode(self._files[METRICS])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            raise PackageError(reason=f"'{METRICS}' is not valid JSON") from cause
        return metrics if isinstance(metrics, dict) else {}

    def paths(self) -> list[str]:
        """Every file the manifest names, sorted."""
        return sorted(self._files)

    def read(self, path: str) -> bytes:
        """One file's bytes. Raises MissingFileError."""
        if path not in self._files:
            raise MissingFileError(path=path)
        return self._files[path]

    def files(self) -> dict[str, bytes]:
        """Every file as on disk, the manifest and its seal included."""
        return {**self._files, MANIFEST: self._manifest_bytes, SEAL: digest_line(self._manifest_bytes)}

    def write(self, out: str | Path) -> None:
        """Write it as a folder, or as a zip when `out` ends in .zip. Raises PackageError when something is in the way."""
        if not isinstance(out, str | Path):
            raise PackageError(reason=f"the path to write it to is expected, not a {type(out).__name__}")
        write_package(self.files(), Path(out))

    def predict(self, payload: bytes | Mapping[str, Any]) -> DecisionResult:
        """Answer one image (its file's bytes) or one record. Raises InvalidInputError, ModelError."""
        return self._answers([self._prepared(payload)])[0]

    def predict_many(self, payloads: Iterable[bytes | Mapping[str, Any]]) -> list[DecisionResult]:
        """Answer several, in order: a list, or a DataFrame with one record a row.

        Raises InvalidInputError at the first bad one, which it names by its index, and ModelError.
        """
        prepared = []
        for place, payload in enumerate(_listed(payloads)):
            try:
                prepared.append(self._prepared(payload))
            except InvalidInputError as error:
                raise type(error).told(f"inputs[{place}]: {error}", **{**error.facts, "row": place}) from error
        return self._answers(prepared)

    def _model(self) -> RunnableModel:
        if self._runnable is None:
            self._runnable = load_runnable(self)
        return self._runnable

    def _prepared(self, payload: Any) -> tuple[bytes | dict[str, Any], Any]:
        """One input as it would be sent, and the row that the model takes."""
        sent = _as_sent(payload)
        return sent, self._model().prepare(sent)

    def _answers(self, prepared: list[tuple[bytes | dict[str, Any], Any]]) -> list[DecisionResult]:
        model, rows = self._model(), [row for _, row in prepared]
        parts = (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))
        answers = (answer for part in parts for answer in model.finish(model.run(part)))
        return [_with_warnings(answer, model.remarks(sent)) for answer, (sent, _) in zip(answers, prepared, strict=True)]


def _with_warnings(answer: DecisionResult, remarks: Sequence[Remark]) -> DecisionResult:
    return msgspec.structs.replace(answer, warnings=tuple(str(one) for one in remarks)) if remarks else answer


def _listed(payloads: Any) -> Iterable[Any]:
    if not isinstance(payloads, Iterable) or isinstance(payloads, str | bytes | Mapping):
        raise InvalidInputError.told(f"A list of inputs or a DataFrame is expected; this is a {type(payloads).__name__}.")
    if not is_table(payloads):
        return payloads
    try:
        return rows_of(payloads)
    except ValueError as cause:
        raise InvalidInputError.told(
            f"Two columns of the DataFrame are called '{cause}'; each field needs its own name."
        ) from cause


def _as_sent(payload: Any) -> bytes | dict[str, Any]:
    """A record as JSON would have it: a notebook's values are often NumPy's. Raises InvalidInputError for what is neither."""
    if is_record(payload):
        return record_of(payload)
    if isinstance(payload, bytes):
        return payload
    raise InvalidInputError.told(
        f"An input is the bytes of an image's file, or a record as a dict or a Series; this is a {type(payload).__name__}."
    )


def open_package(path: str | Path, *, digest: str | None = None) -> Package:
    """Open a folder or a .zip and verify everything but the golden replay.

    digest: when given, the package must be exactly this one.
    Raises PackageError of many kinds, each naming the file and what is wrong with it.
    """
    if not isinstance(path, str | Path):
        raise PackageError(reason=f"the path of its folder or .zip is expected, not a {type(path).__name__}")
    place = Path(path)
    return verify_files(read_files(place), folder=place if place.is_dir() else None, digest=digest)


def verify_files(files: dict[str, bytes], *, folder: Path | None = None, digest: str | None = None) -> Package:
    """The package in these files (path → bytes). Raises PackageError."""
    sealed = dict(files)
    manifest_bytes = _manifest_bytes(sealed)
    if digest not in (None, hashlib.sha256(manifest_bytes).hexdigest()):
        raise DigestMismatchError(path=MANIFEST)
    manifest = parse(manifest_bytes)
    _check_files(manifest, sealed)
    audit(sealed[MODEL])
    return Package(manifest, manifest_bytes, sealed, read_golden(sealed), folder)


def digest_line(manifest_bytes: bytes) -> bytes:
    """Content of manifest.sha256, as `sha256sum -c` reads it."""
    return f"{hashlib.sha256(manifest_bytes).hexdigest()}  {MANIFEST}\n".encode()


def _manifest_bytes(files: dict[str, bytes]) -> bytes:
    for path in (MANIFEST, SEAL):
        if path not in files:
            raise MissingFileError(path=path)
    manifest_bytes = files.pop(MANIFEST)
    if len(manifest_bytes) > MAX_MANIFEST_BYTES:
        raise InvalidManifestError(reason="it is too large")
    if files.pop(SEAL) != digest_line(manifest_bytes):
        raise DigestMismatchError(path=MANIFEST)
    return manifest_bytes


def _check_files(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    for path in sorted({MODEL, *manifest.files} - files.keys()):
        raise MissingFileError(path=path)
    for path in sorted(files.keys() - manifest.files.keys()):
        raise UnexpectedFileError(path=path)
    for path, content in sorted(files.items()):
        if hashlib.sha256(content).hexdigest() != manifest.files[path]:
            raise DigestMismatchError(path=path)


def load_runnable(package: Package, threads: int = 1, limits: ImageLimits | None = None) -> RunnableModel:
    """The model with its session, ready to answer. Raises InvalidOnnxError."""
    return RunnableModel(package.manifest, package.onnx, threads=threads, limits=limits)


def replay_golden(model: Package | RunnableModel, golden: Golden | None = None) -> float:
    """Answer the golden examples; return the largest absolute difference in scores.

    golden: the package's own when not given. Raises GoldenMismatchError, InvalidOnnxError, ModelError.
    """
    if isinstance(model, Package):
        return replay(load_runnable(model), golden or model.golden)
    if golden is None:
        raise TypeError("a RunnableModel carries no golden examples: give them")
    return replay(model, golden)
