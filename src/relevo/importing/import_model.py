"""`relevo import`: turns an untrusted model file into a package, or raises an error that says what to do.

    file ─ sniff ─ pickle scan, trust ─► sandbox: load, convert, predict the samples ─► audit ─► replay ─ parity ─► package

The file's name is ignored and its code never runs in this process. The reference outputs for parity come from the original inside
the sandbox: they prove the conversion, not that the file is harmless.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from relevo.converters.base import ConversionRequest
from relevo.converters.options import ImportOptions, read_options
from relevo.errors import CodeNotTrustedError, ConversionError, InvalidOptionsError, PickleNotTrustedError
from relevo.importing.folder_archive import archive_folder
from relevo.importing.formats import IMPORTABLE, DetectedFormat, Format
from relevo.importing.output_files import read_outputs
from relevo.importing.pickle_scan import VECTORIZER_ONLY
from relevo.importing.reference_outputs import ImportCase, reference_from_current, reference_from_legacy, reference_from_user
from relevo.importing.sample_files import read_samples
from relevo.importing.sandbox import protocol
from relevo.importing.sandbox.client import SandboxResult, convert_in_sandbox
from relevo.importing.sandbox.sample_codec import encode_samples, samples_of
from relevo.importing.sniff import read_model_file, refuse_unless_importable, sniff_path
from relevo.package.build import PackageSpec, build_package
from relevo.package.onnx_validation import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.converters.limits import Bounds
    from relevo.package.conversion import ConversionOptions
    from relevo.package.package import Package
    from relevo.package.samples import Samples

_MAX_IMPORTS_SHOWN = 12
#: Not pickles, but their loaders evaluate code in the file and unpickle parts of it.
_CAN_RUN_CODE = frozenset({Format.TORCH_EXPORT, Format.TORCHSCRIPT})
#: Formats that can contain code, or whose library has been exploited to run code; they need a strong sandbox.
_NEED_STRONG_SANDBOX = frozenset({Format.PICKLE, Format.KERAS_H5, Format.KERAS_ZIP, Format.KERAS_JSON, Format.SAVED_MODEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The file as it was read: the bytes that are scanned are the bytes that are opened."""

    path: Path
    data: bytes
    detected: DetectedFormat


def import_model(  # noqa: PLR0913 - the public import function: all keyword arguments, nearly all optional
    path: str | Path,
    *,
    name: str,
    out: str | Path | None = None,
    trust_pickle: bool = False,
    allow_weak_sandbox: bool = False,
    vectorizer: str | Path | None = None,
    weights: str | Path | None = None,
    samples: Any = None,
    truth: str | Path | Sequence[Any] | None = None,
    releases: Sequence[str] = (),
    python: str | Path | None = None,
    reference_outputs: Any = None,
    bounds: Bounds | None = None,
    progress: Callable[[int, int, str], object] | None = None,
    **keywords: Unpack[ImportOptions],
) -> Package:
    """Import a file: ONNX, Keras, a SavedModel folder, XGBoost, LightGBM, PyTorch, or a pickle of scikit-learn (joblib's too).

    trust_pickle: the user trusts the author of a pickle, or of a file whose library can be made to run its code; without it neither
        is loaded.
    allow_weak_sandbox: open a file that may run code although the sandbox of this system is not strong.
    vectorizer: a second pickle with the DictVectorizer, where it was saved separately; the same trust covers both.
    weights: the HDF5 file with the weights of a Keras architecture in JSON.
    samples: held-out inputs: a file (JSON list, JSON lines, CSV, .npy, .npz), a folder of images, or what `relevo.pack` takes.
        Without them, samples are generated from the signature: enough to verify the conversion, not to measure the model.
    truth: a column of the samples, a file, or the values.
    releases: the releases that wrote a pickle, "scikit-learn==0.24.2" first: they are installed in a temporary environment, where
        the original predicts the samples. python: the interpreter for that environment, a path or a name; default: the running one.
    reference_outputs: the original's scores (n, columns) for the samples, an array or a file; the conversion must agree with them.
    out: a folder, or a path ending in .zip; without it the package stays in memory.

    Options: those of `relevo.pack`, and what a file may not specify:
    kind, mode, layout, size (width, height): of its input.
    output: the name of the output with the scores; of a booster it may be "margin": the raw score instead of the probability.
    iterations: of a booster, only the first iterations, as for an early-stopped one; 0 for all.

    Raises UnknownFileFormatError, ImportModelError, PickleNotTrustedError, SandboxTooWeakError, SandboxError, InvalidOptionsError,
    MissingDependencyError, InvalidLabelsError, ConversionError, InvalidOnnxError, ParityError, InvalidManifestError,
    LegacyEnvironmentError; PackageError when `out` cannot be written.
    """
    options = read_options(ImportOptions, keywords, name=name, out=out)
    source = _read(Path(path), trusted=trust_pickle)
    _check_option_combinations(source, releases, python, outputs=reference_outputs is not None, samples=samples is not None)
    second = _read_second_file(source, vectorizer, weights, trusted=trust_pickle)
    _refuse_vectorizer_only(source, second)
    user_samples, truth_values = (None, None) if samples is None else read_samples(samples, truth, options.features)
    if progress is not None:
        progress(0, 1, "converting")
    case = _import_case(source, second, user_samples, options, allow_weak=allow_weak_sandbox, bounds=bounds)
    result = reference_from_legacy(case, releases, python) if releases else reference_from_current(case)
    parity_samples = samples_of(result, user_samples)
    if reference_outputs is not None:
        result = reference_from_user(result, read_outputs(reference_outputs), parity_samples)
    if source.detected.format is not Format.ONNX:
        _replay_in_sandbox(result, parity_samples, bounds)
    spec = PackageSpec(
        converted=result.converted,
        name=name,
        samples=parity_samples,
        truth=truth_values,
        options=options,
        reference=result.reference,
        samples_origin="generated" if result.generated else "user",
        source_sha256=hashlib.sha256(source.data).hexdigest(),
        sandbox=result.level,
        progress=progress,
    )
    return build_package(spec, None if out is None else Path(out))


def _read(path: Path, *, trusted: bool) -> Source:
    """Read the file and check its format. Raises UnknownFileFormatError, ImportModelError, PickleNotTrustedError, InvalidOnnxError."""
    detected = sniff_path(path)
    refuse_unless_importable(detected)
    data = archive_folder(path) if path.is_dir() else read_model_file(path)
    if detected.format is Format.PICKLE and not trusted:
        raise PickleNotTrustedError(path=path.name, imports=_describe_imports(detected))
    if detected.format in _CAN_RUN_CODE and not trusted:
        raise CodeNotTrustedError(path=path.name, format=detected.format.value)
    if detected.format is Format.ONNX:
        audit(data)
    return Source(path=path, data=data, detected=detected)


def _read_second_file(source: Source, vectorizer: str | Path | None, weights: str | Path | None, *, trusted: bool) -> Source | None:
    """Read the second file of a model, if any. Raises InvalidOptionsError, and what `_read` raises."""
    if source.detected.format is Format.KERAS_JSON and weights is None:
        raise InvalidOptionsError(options="--weights FILE, for it is an architecture without its weights")
    second_path = vectorizer if vectorizer is not None else weights
    if second_path is None:
        return None
    second = _read(Path(second_path), trusted=trusted)
    formats = (source.detected.format, second.detected.format)
    if vectorizer is not None and (formats != (Format.PICKLE, Format.PICKLE) or weights is not None):
        raise InvalidOptionsError(options="no --vectorizer: it goes with a pickled model, and is a pickle itself")
    if weights is not None and formats != (Format.KERAS_JSON, Format.KERAS_H5):
        raise InvalidOptionsError(options="no --weights: an HDF5 file of weights goes with a Keras architecture in JSON")
    return second


def _refuse_vectorizer_only(source: Source, second: Source | None) -> None:
    """Reject a vectorizer without its model. Raises ConversionError."""
    scan = source.detected.scan
    if second is None and scan is not None and scan.is_vectorizer_only:
        raise ConversionError(reason=VECTORIZER_ONLY)


def _check_option_combinations(
    source: Source, releases: Sequence[str], python: str | Path | None, *, outputs: bool, samples: bool
) -> None:
    """Reject options that need other options. Raises InvalidOptionsError."""
    if releases and source.detected.format is not Format.PICKLE:
        raise InvalidOptionsError(
            options="no --with: it goes with pickles, which only the library that wrote them reads faithfully"
        )
    if python is not None and not releases:
        raise InvalidOptionsError(options="--with NAME==VERSION, what is to be installed for that --python")
    if outputs and not samples:
        raise InvalidOptionsError(options="--samples, the inputs that the outputs belong to")


def _describe_imports(detected: DetectedFormat) -> str:
    """List what a pickle would import, suspicious names first; they come from the file, so they are made printable and short."""
    scan = detected.scan
    if scan is None or not (scan.imports or scan.suspicious_imports):
        return "nothing that can be seen"
    suspicious = [f"{name}, which is unusual" for name in scan.suspicious_imports]
    names = [*suspicious, *(name for name in scan.imports if name not in scan.suspicious_imports)]
    shown = ["".join(character for character in name if character.isprintable())[:80] for name in names[:_MAX_IMPORTS_SHOWN]]
    hidden_count = len(names) - len(shown)
    return (
        ", ".join(shown)
        + (f" and {hidden_count} more" if hidden_count > 0 else "")
        + ("" if scan.complete else "; it could not be read to its end")
    )


def _import_case(
    source: Source,
    second: Source | None,
    samples: Samples | None,
    options: ConversionOptions,
    *,
    allow_weak: bool,
    bounds: Bounds | None,
) -> ImportCase:
    """Combine the file with its options. Raises InvalidOptionsError."""
    sample_fields, sample_bytes = encode_samples(samples)
    request = ConversionRequest(
        format=IMPORTABLE[source.detected.format],
        options=options,
        compression=source.detected.compression,
        second=second is not None,
        source=source.detected.framework,
        **sample_fields,
    )
    bodies = [source.data, b"" if second is None else second.data, sample_bytes]
    # An ONNX file is data: any sandbox level is accepted.
    may_run_code = source.detected.format in _NEED_STRONG_SANDBOX | _CAN_RUN_CODE
    return ImportCase(request=request, bodies=bodies, samples=samples, need_strong=may_run_code and not allow_weak, bounds=bounds)


def _replay_in_sandbox(result: SandboxResult, samples: Samples, bounds: Bounds | None) -> None:
    """Run the ONNX that the worker returned in a second sandbox first: a graph built to run forever ends there, not here.

    Raises SandboxError, and ConversionError when it does not run.
    """
    converted = result.converted
    signature = protocol.Signature(input=converted.input, steps=converted.steps, output=converted.output)
    sample_fields, sample_bytes = encode_samples(samples)
    convert_in_sandbox(
        ConversionRequest(format="replay", **sample_fields),
        [converted.onnx, msgspec.json.encode(signature), sample_bytes],
        need_strong=False,
        bounds=bounds,
    )
