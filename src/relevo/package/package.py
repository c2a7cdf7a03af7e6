"""Opens a package: reads and verifies its files, validates the ONNX model, and only then builds the runnable model.

    folder | .zip ─ archive ─► bytes ─ manifest digest ─► manifest ─ file digests ─► ONNX validation ─► Package
    package store ─ open_stored ─► bytes ─┘                                  Package ─ load_runnable ─► RunnableModel

The verified bytes are the bytes that are used; later changes on disk have no effect.
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
from relevo.package.archive import read_files, write_package
from relevo.package.documents import read_verified
from relevo.package.golden import Golden, read_golden, replay
from relevo.package.layout import MANIFEST, MAX_BYTES, MAX_MANIFEST_BYTES, METRICS, MODEL, SEAL
from relevo.package.onnx_validation import audit
from relevo.runtime.model import RunnableModel
from relevo.util.records import is_record, is_table, record_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.domain.decision import DecisionResult
    from relevo.package.documents import PackageStore
    from relevo.runtime.image import ImageLimits
    from relevo.runtime.record_encoder import Remark

#: Batch size of `predict_many`.
_BATCH_SIZE = 256


class Package:
    """An opened, verified package. Lifetime: the caller's. Never reads the disk again."""

    def __init__(self, manifest: Manifest, manifest_bytes: bytes, files: Mapping[str, bytes], golden: Golden) -> None:
        """Called by `open_package`, which verifies the arguments; use that function."""
        self.manifest = manifest
        #: Identity: SHA-256 of manifest.json, in hex.
        self.digest = hashlib.sha256(manifest_bytes).hexdigest()
        self._manifest_bytes = manifest_bytes
        self.golden = golden
        self._files = files
        self._runnable: RunnableModel | None = None

    def __repr__(self) -> str:
        """Name and short digest."""
        return f"<Package {self.manifest.name} {self.digest[:12]}>"

    @property
    def onnx(self) -> bytes:
        """The ONNX model."""
        return self._files[MODEL]

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics on held-out data; empty when none were measured. Raises PackageError."""
        if METRICS not in self._files:
            return {}
        try:
            metrics = msgspec.json.decode(self._files[METRICS])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            raise PackageError(reason=f"'{METRICS}' is not valid JSON") from cause
        return metrics if isinstance(metrics, dict) else {}

    def paths(self) -> list[str]:
        """Path of every file that the manifest names, sorted."""
        return sorted(self._files)

    def read(self, path: str) -> bytes:
        """Content of one file. Raises MissingFileError."""
        if path not in self._files:
            raise MissingFileError(path=path)
        return self._files[path]

    def files(self) -> dict[str, bytes]:
        """Every file as on disk, including the manifest and its digest file."""
        return {**self._files, MANIFEST: self._manifest_bytes, SEAL: digest_line(self._manifest_bytes)}

    def write(self, out: str | Path) -> None:
        """Writes a folder, or a zip when `out` ends in .zip. Raises PackageError when `out` cannot be written."""
        if not isinstance(out, str | Path):
            raise PackageError(reason=f"the path to write it to is expected, not a {type(out).__name__}")
        write_package(self.files(), Path(out))

    def predict(self, payload: bytes | Mapping[str, Any]) -> DecisionResult:
        """Predicts for one image (the bytes of its file) or one record. Raises InvalidInputError, ModelError."""
        return self._predict_rows([self._preprocess(payload)])[0]

    def predict_many(self, payloads: Iterable[bytes | Mapping[str, Any]]) -> list[DecisionResult]:
        """Predicts for several inputs, in order: a list, or a DataFrame with one record per row.

        Raises InvalidInputError at the first invalid input, naming its index, and ModelError.
        """
        rows = []
        for index, payload in enumerate(_to_list(payloads)):
            try:
                rows.append(self._preprocess(payload))
            except InvalidInputError as error:
                raise type(error).with_message(f"inputs[{index}]: {error}", **{**error.facts, "row": index}) from error
        return self._predict_rows(rows)

    def _load_model(self) -> RunnableModel:
        if self._runnable is None:
            self._runnable = load_runnable(self)
        return self._runnable

    def _preprocess(self, payload: Any) -> tuple[bytes | dict[str, Any], Any]:
        """One input as a client would send it, and its row for the model."""
        sent = _to_payload(payload)
        return sent, self._load_model().preprocess(sent)

    def _predict_rows(self, prepared: list[tuple[bytes | dict[str, Any], Any]]) -> list[DecisionResult]:
        model, rows = self._load_model(), [row for _, row in prepared]
        batches = (rows[start : start + _BATCH_SIZE] for start in range(0, len(rows), _BATCH_SIZE))
        results = (result for batch in batches for result in model.postprocess(model.run(batch)))
        return [_with_warnings(result, model.remarks(payload)) for result, (payload, _) in zip(results, prepared, strict=True)]


def _with_warnings(result: DecisionResult, remarks: Sequence[Remark]) -> DecisionResult:
    return msgspec.structs.replace(result, warnings=tuple(str(remark) for remark in remarks)) if remarks else result


def _to_list(payloads: Any) -> Iterable[Any]:
    if not isinstance(payloads, Iterable) or isinstance(payloads, str | bytes | Mapping):
        raise InvalidInputError.with_message(f"A list of inputs or a DataFrame is expected; this is a {type(payloads).__name__}.")
    if not is_table(payloads):
        return payloads
    try:
        return rows_of(payloads)
    except ValueError as cause:
        raise InvalidInputError.with_message(
            f"Two columns of the DataFrame are called '{cause}'; each field needs its own name."
        ) from cause


def _to_payload(payload: Any) -> bytes | dict[str, Any]:
    """Image bytes, or a record with NumPy values converted to JSON values. Raises InvalidInputError for anything else."""
    if is_record(payload):
        return record_of(payload)
    if isinstance(payload, bytes):
        return payload
    raise InvalidInputError.with_message(
        f"An input is the bytes of an image's file, or a record as a dict or a Series; this is a {type(payload).__name__}."
    )


def open_package(path: str | Path, *, digest: str | None = None) -> Package:
    """Opens a folder or a .zip and verifies everything except the golden tests.

    digest: the expected identity, if given.
    Raises a subclass of PackageError that names the file and the problem.
    """
    if not isinstance(path, str | Path):
        raise PackageError(reason=f"the path of its folder or .zip is expected, not a {type(path).__name__}")
    return verify_files(read_files(Path(path)), digest=digest)


def open_stored(store: PackageStore, digest: str) -> Package:
    """Opens a package of the store and verifies everything except the golden tests. Raises PackageError."""
    stored = store.open(digest)
    manifest = read_verified(stored, MANIFEST, digest, MAX_MANIFEST_BYTES)
    paths: Iterable[str] = msgspec.json.decode(manifest)["files"]
    files = {path: stored.read(path, max_bytes=MAX_BYTES) for path in paths}
    return verify_files({**files, MANIFEST: manifest, SEAL: digest_line(manifest)}, digest=digest)


def verify_files(files: dict[str, bytes], *, digest: str | None = None) -> Package:
    """Verifies the files (path → bytes) and returns their package. Raises PackageError."""
    contents = dict(files)
    manifest_bytes = _manifest_bytes(contents)
    if digest not in (None, hashlib.sha256(manifest_bytes).hexdigest()):
        raise DigestMismatchError(path=MANIFEST)
    manifest = parse(manifest_bytes)
    _check_files(manifest, contents)
    audit(contents[MODEL])
    return Package(manifest, manifest_bytes, contents, read_golden(contents))


def digest_line(manifest_bytes: bytes) -> bytes:
    """Content of manifest.sha256, in the format of `sha256sum -c`."""
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
    """The model with its inference session. Raises InvalidOnnxError."""
    return RunnableModel(package.manifest, package.onnx, threads=threads, limits=limits)


def replay_golden(model: Package | RunnableModel, golden: Golden | None = None) -> float:
    """Runs the golden tests and returns the largest absolute difference in scores.

    golden: defaults to the package's own. Raises GoldenMismatchError, InvalidOnnxError, ModelError.
    """
    if isinstance(model, Package):
        return replay(load_runnable(model), golden or model.golden)
    if golden is None:
        raise TypeError("a RunnableModel carries no golden examples: give them")
    return replay(model, golden)
