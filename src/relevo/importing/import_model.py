"""`relevo import`: turns an untrusted model file into a package, or raises an error that says what to do.

    file ─ sniff ─ pickle scan, trust ─► sandbox: load, convert, predict the samples ─► audit ─► replay ─ parity ─► package

The file's name is ignored and its code never runs in this process. The reference outputs for parity come from the original inside
the sandbox: they prove the conversion, not that the file is harmless.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from relevo.converters.options import ConversionOptions
from relevo.converters.preprocessing_presets import get_preset
from relevo.domain.decision import ArgmaxDecision
from relevo.domain.manifest import refuse_bad_background, validate_options
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
from relevo.package.archive import check_output_path
from relevo.package.build import PackageSpec, build_package
from relevo.package.card.texts import card_words
from relevo.package.class_names import named
from relevo.package.onnx_validation import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relevo.converters.limits import Bounds
    from relevo.domain.decision import Decision
    from relevo.domain.signature import MissingFields, UnknownFields
    from relevo.package.package import Package
    from relevo.package.quantization import Numbers
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
    accept_weak: bool = False,
    vectorizer: str | Path | None = None,
    weights: str | Path | None = None,
    samples: Any = None,
    truth: str | Path | Sequence[Any] | None = None,
    labels: Sequence[str] | Mapping[Any, str] | None = None,
    features: Sequence[str] | None = None,
    kind: Literal["record", "image"] | None = None,
    scale: float | None = None,
    preprocess: str | None = None,
    mode: Literal["L", "RGB", "BGR"] | None = None,
    layout: Literal["NHWC", "NCHW", "NHW", "flat"] | None = None,
    size: tuple[int, int] | None = None,
    orientation: Literal["exif", "ignore"] | None = None,
    background: str | None = None,
    output: str | None = None,
    rounds: int = 0,
    scores: Literal["logits", "probabilities", "percent", "numbers"] | None = None,
    releases: Sequence[str] = (),
    python: str | Path | None = None,
    outputs: Any = None,
    unit: str = "",
    decision: Decision | None = None,
    answer: Mapping[str, str] | None = None,
    synonyms: Sequence[str] = (),
    unknown_fields: UnknownFields | None = None,
    missing_fields: MissingFields | None = None,
    description: str = "",
    tolerance: float | None = None,
    precision: Numbers = "float32",
    max_loss: float = 0.01,
    figures: bool = True,
    bounds: Bounds | None = None,
    language: str | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> Package:
    """Import a file: ONNX, Keras, a SavedModel folder, XGBoost, LightGBM, PyTorch, or a pickle of scikit-learn (joblib's too).

    trust_pickle: the user trusts the author of a pickle, or of a file whose library can be made to run its code; without it neither
        is loaded.
    accept_weak: open a file that may run code although the sandbox of this system is not strong.
    vectorizer: a second pickle with the DictVectorizer, where it was saved separately; the same trust covers both.
    weights: the HDF5 file with the weights of a Keras architecture in JSON.
    samples: held-out inputs: a file (JSON list, JSON lines, CSV, .npy, .npz), a folder of images, or what `relevo.pack` takes.
        Without them, samples are generated from the signature: enough to verify the conversion, not to measure the model.
    truth: a column of the samples, a file, or the values. labels: names in the order of the model's classes or scores,
        or a mapping from class to name, as in `relevo.pack`.
    features: column names of a matrix. kind, scale, mode, layout, size (width, height), output: what a file may not specify.
        Of a booster `output` may be "margin": the raw score instead of the probability.
    orientation, background: of images, as in `relevo.pack`.
    rounds: of a booster, only the first rounds, as for an early-stopped one; 0 for all.
    preprocess: scale, mean, spread and channel order of an image by one name: "01", "tf", "caffe", "torch", "raw", "vgg19", …
    scores: the type of the model's outputs, where neither its graph nor its outputs determine it.
    releases: the releases that wrote a pickle, "scikit-learn==0.24.2" first: they are installed in a temporary environment, where
        the original predicts the samples. python: the interpreter for that environment, a path or a name; default: the running one.
    outputs: the original's scores (n, columns) for the samples, an array or a file; they become the reference of the conversion.
    precision, max_loss: smaller numbers for a large network and the allowed loss, as in `relevo.pack`.
    answer: extra fields of an answer, for clients that read other names: {"churn": "is:leaves"}.
    synonyms: other names of the model that old clients use. The file's own name is not one of them: it is not part of the package.
    unknown_fields, missing_fields: "refuse" or "ignore", "refuse" or "zero", as in `relevo.pack`.
    language: of the card and its figures, as in `relevo.pack`.
    out: a folder, or a path ending in .zip; without it the package stays in memory.
    Raises UnknownFileFormatError, ImportModelError, PickleNotTrustedError, SandboxTooWeakError, SandboxError, InvalidOptionsError,
    MissingDependencyError, InvalidLabelsError, ConversionError, InvalidOnnxError, ParityError, InvalidManifestError,
    LegacyEnvironmentError; PackageError when `out` cannot be written.
    """
    if out is not None:
        check_output_path(Path(out))
    validate_options(name=name, decision=decision or ArgmaxDecision(), answer=answer or {}, synonyms=synonyms)
    refuse_bad_background(background)
    source = _read(Path(path), trusted=trust_pickle)
    _check_option_combinations(source, releases, python, outputs=outputs is not None, samples=samples is not None)
    second = _read_second_file(source, vectorizer, weights, trusted=trust_pickle)
    _refuse_vectorizer_only(source, second)
    user_samples, truth_values = (None, None) if samples is None else read_samples(samples, truth, features or ())
    options = {
        **named(labels),
        "features": tuple(features or ()),
        "kind": kind or "",
        **_pixel_options(scale, preprocess, mode),
        "layout": layout or "",
        "size": size,
        "orientation": orientation,
        "background": background,
        "output": output or "",
        "scores": scores or "",
        "rounds": rounds,
        "unit": unit,
    }
    if progress is not None:
        progress(0, 1, "converting")
    case = _import_case(source, second, user_samples, options, accept_weak=accept_weak, bounds=bounds)
    conversion = reference_from_legacy(case, releases, python) if releases else reference_from_current(case)
    parity_samples = samples_of(conversion.result, user_samples)
    if outputs is not None:
        conversion = reference_from_user(conversion, read_outputs(outputs), parity_samples)
    result = conversion.result
    if source.detected.format is not Format.ONNX:
        _replay_in_sandbox(result, parity_samples, bounds)
    spec = PackageSpec(
        converted=result.converted,
        name=name,
        samples=parity_samples,
        truth=truth_values,
        description=description,
        decision=decision or ArgmaxDecision(),
        answer=answer or {},
        synonyms=tuple(synonyms),
        unknown_fields=unknown_fields,
        missing_fields=missing_fields,
        reference=conversion.reference,
        samples_origin="generated" if result.generated else "user",
        tolerance=tolerance,
        precision=precision,
        max_loss=max_loss,
        figures=figures,
        source_sha256=hashlib.sha256(source.data).hexdigest(),
        sandbox=result.level,
        card_texts=card_words(language),
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


def _pixel_options(scale: float | None, preprocess: str | None, mode: str | None) -> dict[str, Any]:
    """Return the preprocessing options of a pixel. Raises InvalidOptionsError when they are given twice, or by an unknown name."""
    if preprocess is None:
        return {"scale": 1.0 if scale is None else scale, "mode": mode or "", "told": () if scale is None else ("scale",)}
    if scale is not None:
        raise InvalidOptionsError(options="only one of --preprocess and --scale")
    preset = get_preset(preprocess)
    preset_mode = "BGR" if preset.channels == "BGR" else mode or ""
    return {"scale": preset.scale, "mean": preset.mean, "std": preset.std, "mode": preset_mode, "told": ("scale",)}


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
    options: dict[str, Any],
    *,
    accept_weak: bool,
    bounds: Bounds | None,
) -> ImportCase:
    """Combine the file with its options. Raises InvalidOptionsError."""
    sample_fields, sample_bytes = encode_samples(samples)
    conversion_options = ConversionOptions(
        format=IMPORTABLE[source.detected.format],
        compression=source.detected.compression,
        second=second is not None,
        source=source.detected.framework,
        **options,
        **sample_fields,
    )
    bodies = [source.data, b"" if second is None else second.data, sample_bytes]
    # An ONNX file is data: any sandbox level is accepted.
    may_run_code = source.detected.format in _NEED_STRONG_SANDBOX | _CAN_RUN_CODE
    return ImportCase(
        options=conversion_options, bodies=bodies, samples=samples, need_strong=may_run_code and not accept_weak, bounds=bounds
    )


def _replay_in_sandbox(result: SandboxResult, samples: Samples, bounds: Bounds | None) -> None:
    """Run the ONNX that the worker returned in a second sandbox first: a graph built to run forever ends there, not here.

    Raises SandboxError, and ConversionError when it does not run.
    """
    converted = result.converted
    signature = protocol.Signature(input=converted.input, steps=converted.steps, output=converted.output)
    sample_fields, sample_bytes = encode_samples(samples)
    convert_in_sandbox(
        ConversionOptions(format="replay", **sample_fields),
        [converted.onnx, msgspec.json.encode(signature), sample_bytes],
        need_strong=False,
        bounds=bounds,
    )
