"""Converts a model file inside the sandbox worker: load, convert, predict the samples, encode the result.

    request ─┬─ pickle: load ─ fix attributes of old releases ─ find model ─► live model ─ converter ─┐
             ├─ ONNX: options from the file and the user ─ converter ──────────────────────────────────┤
             └─ framework file: `open_file(options, bodies, samples)` of its converter ────────────────┴─► message

The message is a ConvertedMessage or a FailureMessage. This module runs untrusted code; the parent never calls it.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.base import ConversionResult
from relevo.converters.onnx_options import ASK_SCALE, hints_for_onnx, picture_hints, require_input_kind, with_feature_count
from relevo.converters.options import ConversionOptions
from relevo.converters.sklearn.versions import advice
from relevo.errors import (
    ConversionError,
    ImportModelError,
    InvalidLabelsError,
    InvalidOnnxError,
    InvalidOptionsError,
    MissingDependencyError,
    ModelError,
    RelevoError,
)
from relevo.importing.formats import FILE_CONVERTERS
from relevo.importing.pickle_scan import VECTORIZER_ONLY
from relevo.importing.sandbox import protocol
from relevo.package.conversion import ConversionHints, ConvertedModel
from relevo.package.samples import ImageSamples, RecordSamples, from_records
from relevo.package.synthetic_samples import generate_samples, infer_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.package.samples import Samples

_MAX_TEXT = 400
#: How the reason begins when a pickle needs a module that is not installed; another release of scikit-learn does not help then.
MISSING_MODULE = "it needs the Python module"
_SKLEARN_MODULES = frozenset({"sklearn", "numpy", "scipy", "joblib"})
_ERROR_CODES: tuple[tuple[type[RelevoError], Any], ...] = (
    (InvalidOptionsError, "options_missing"),
    (MissingDependencyError, "extra_missing"),
    (ConversionError, "conversion_failed"),
    (InvalidOnnxError, "onnx_refused"),
    (InvalidLabelsError, "labels_refused"),
    (ImportModelError, "import_refused"),
)


def run_request(request: IO[bytes]) -> bytes:
    """Answer one request frame with one frame; every failure becomes a FailureMessage."""
    try:
        # No other reference to the request bytes: a large file would be in memory twice.
        frame = next(iter(protocol.frames(request.read(), ConversionOptions)))
        with warnings.catch_warnings():
            # Version warnings of old models; the parity check decides.
            warnings.simplefilter("ignore")
            result = _convert(frame.header, frame.bodies)
        return _encode_result(result)
    except RelevoError as error:
        return protocol.pack(_failure_message(error))
    except MemoryError:
        return protocol.pack(
            protocol.FailureMessage(
                code="quarantine_failed", reason="the file needs more memory than it is given; --max-memory allows more"
            )
        )
    except Exception as cause:  # noqa: BLE001 - untrusted code raises anything
        return protocol.pack(
            protocol.FailureMessage(code="conversion_failed", reason=f"{type(cause).__name__}: {cause}"[:_MAX_TEXT])
        )


def _failure_message(error: RelevoError) -> protocol.FailureMessage:
    for error_type, code in _ERROR_CODES:
        if isinstance(error, error_type):
            text = str(next(iter(error.facts.values()), error))
            # Converters name Python parameters; the command line has flags.
            flag = "--" if error_type is InvalidOptionsError and text.startswith(("labels (", "features (", "scores (")) else ""
            return protocol.FailureMessage(code=code, reason=(flag + text)[:_MAX_TEXT])
    # The reason is embedded in a sentence that ends with its own full stop.
    text = str(error)[:_MAX_TEXT].removesuffix(".")
    return protocol.FailureMessage(code="import_refused" if isinstance(error, ModelError) else "conversion_failed", reason=text)


def _encode_result(result: ConversionResult) -> bytes:
    outputs, predicted = result.converted.outputs, result.converted.predicted
    if outputs is not None and predicted is not None:
        outputs = np.column_stack([outputs, predicted])
    header = protocol.ConvertedMessage(
        input=result.converted.input,
        steps=result.converted.steps,
        output=result.converted.output,
        framework=result.converted.framework,
        converter=result.converted.converter,
        outputs=None if outputs is None else (outputs.shape[0], outputs.shape[1]),
        predicted=outputs is not None and predicted is not None,
        samples="generated" if result.generated else "user",
        classes=result.converted.classes,
        decision=result.converted.decision,
        bodies=(0, 0, 0),
    )
    records = result.samples.records if result.generated and isinstance(result.samples, RecordSamples) else None
    output_bytes = b"" if outputs is None else protocol.encode_matrix(outputs)
    return protocol.pack(header, [result.converted.onnx, output_bytes, msgspec.json.encode(records) if records else b""])


def _convert(options: ConversionOptions, bodies: Sequence[bytes]) -> ConversionResult:
    samples = _decode_samples(options, bodies[2])
    if options.format == "replay":
        return _replay(bodies[0], bodies[1], samples)
    if options.format == "onnx":
        return _convert_onnx(options, bodies[0], samples)
    if options.format in FILE_CONVERTERS:
        # tempfile probes its folder by writing a file, which is forbidden here; no library needs the folder afterwards.
        tempfile.tempdir = str(Path.cwd())
        # Late import: each module loads a large, optional framework.
        result: ConversionResult = import_module(FILE_CONVERTERS[options.format]).open_file(options, bodies, samples)
        return result
    model = find_model([load_pickle(body, options.source) for body in bodies[: 2 if options.second else 1]])
    hints = ConversionHints(
        labels=options.labels,
        renamed=options.renamed,
        features=options.features,
        scale=options.scale if options.told else None,
        unit=options.unit,
        orientation=options.orientation,
        background=options.background,
    )
    return _convert_pickle(options, model, samples, hints)


def _convert_pickle(options: ConversionOptions, model: Any, samples: Samples | None, hints: ConversionHints) -> ConversionResult:
    from relevo.converters.sklearn.compat import fix_attributes
    from relevo.converters.sklearn.convert import convert_sklearn
    from relevo.converters.sklearn.dict_vectorizer import convert_dictvectorizer, record_of, split

    fix_attributes(model, options.source)
    has_vectorizer = _starts_with_vectorizer(model)
    used_samples = samples
    if not has_vectorizer and not hasattr(with_feature_count(model), "feature_names_in_"):
        require_input_kind(int(getattr(with_feature_count(model), "n_features_in_", 0)), options, samples)
    if isinstance(samples, ImageSamples) and "scale" not in options.told:
        raise InvalidOptionsError(options=ASK_SCALE)
    if options.kind == "image":
        hints = picture_hints(model, options, hints)
    if used_samples is None and hints.input is not None:
        used_samples = generate_samples(hints.input)
    elif used_samples is None:
        record = record_of(split(model).vectorizer) if has_vectorizer else infer_record(with_feature_count(model), hints)
        used_samples = generate_samples(record)
    if samples is None and isinstance(used_samples, RecordSamples) and not hints.features:
        # Generated in the model's own column order.
        hints = replace(hints, features=used_samples.names)
    converted = (
        convert_dictvectorizer(model, used_samples, hints) if has_vectorizer else convert_sklearn(model, used_samples, hints)
    )
    if options.source:
        # The bytes name the release that wrote the file; the installed release is recorded as converter.
        reader = {"scikit-learn": converted.framework.partition(" ")[2]}
        converted = replace(converted, framework=options.source, converter={**reader, **converted.converter})
    return ConversionResult(converted=converted, samples=used_samples, generated=samples is None)


def _convert_onnx(options: ConversionOptions, data: bytes, samples: Samples | None) -> ConversionResult:
    from relevo.converters.onnx_model import convert_onnx
    from relevo.package.parity import score_as_served

    hints = hints_for_onnx(data, options, samples)
    converted = convert_onnx(data, samples, hints)
    used_samples = samples if samples is not None else generate_samples(converted.input)
    # The original is the file itself: its outputs here are the reference for parity.
    return ConversionResult(
        converted=replace(converted, outputs=score_as_served(converted, used_samples)),
        samples=used_samples,
        generated=samples is None,
    )


def _replay(onnx: bytes, signature_bytes: bytes, samples: Samples | None) -> ConversionResult:
    """Predict the samples with ONNX that came out of a sandbox, to check that the run ends."""
    from relevo.package.parity import score_as_served

    signature = msgspec.json.decode(signature_bytes, type=protocol.Signature)
    converted = ConvertedModel(onnx=onnx, input=signature.input, steps=signature.steps, output=signature.output, framework="")
    used_samples = samples if samples is not None else generate_samples(converted.input)
    return ConversionResult(
        converted=replace(converted, outputs=score_as_served(converted, used_samples)), samples=used_samples, generated=False
    )


# --- from bytes to a live model -----------------------------------------------------------------------------------------


def load_pickle(data: bytes, source: str = "") -> Any:
    """Unpickle, joblib's formats included. source: what wrote it, read from the bytes. Raises MissingDependencyError, ConversionError."""
    try:
        import joblib  # type: ignore[import-untyped]

        # Not imported: that takes a second, and the pickle imports it itself if needed.
        installed = version("scikit-learn")
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    from relevo.converters.sklearn.compat import install_module_aliases

    install_module_aliases()
    try:
        return joblib.load(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception as cause:
        if (module := _missing_module(cause)) is not None:
            raise ConversionError(
                reason=f"it needs the Python module '{module}', which is not installed here; install it beside Relevo, or fit "
                "the model without it"
            ) from cause
        raise ConversionError(
            reason=f"it was written by {source or 'an unknown release'} and cannot be loaded by the "
            f"scikit-learn {installed} installed here ({type(cause).__name__}: {str(cause)[:160]}). "
            + _suggestion(source, installed)
        ) from cause


def _missing_module(cause: Exception) -> str | None:
    """Return the name of the missing module, unless another scikit-learn release may provide it."""
    name = cause.name if isinstance(cause, ModuleNotFoundError) else None
    if name is None or name.partition(".")[0] in _SKLEARN_MODULES:
        return None
    return "".join(character for character in name if character.isprintable())[:80]


def _suggestion(source: str, installed: str) -> str:
    if source == f"scikit-learn {installed}":
        return "That is the very release that wrote it: the file is damaged, or needs other libraries beside it"
    flags = advice(source)
    return f"Repeat with {flags}, or fit it again with a newer release" if flags else "Fit it again with a newer release"


def find_model(loaded: list[Any]) -> Any:
    """Find a model, or (vectorizer, model), in the unpickled containers. Raises ConversionError."""
    objects = [value for container in loaded for value in _flatten(container)]
    models = [value for value in objects if hasattr(value, "predict")]
    vectorizers = [value for value in objects if hasattr(value, "vocabulary_") and hasattr(value, "feature_names_")]
    if len(models) == 1 and len(vectorizers) == 1:
        return vectorizers[0], models[0]
    if len(models) == 1 and len(objects) == 1:
        return models[0]
    if vectorizers and not models:
        raise ConversionError(reason=VECTORIZER_ONLY)
    kinds = ", ".join(type(value).__name__ for value in objects[:8])
    raise ConversionError(reason=f"it holds {kinds or 'nothing'}; one model was expected, or a DictVectorizer and a model")


def _flatten(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    return [value]


def _starts_with_vectorizer(model: Any) -> bool:
    first = model[0] if isinstance(model, tuple) else model.steps[0][1] if hasattr(model, "steps") else model
    return hasattr(first, "vocabulary_") and hasattr(first, "feature_names_")


def _decode_samples(options: ConversionOptions, body: bytes) -> Samples | None:
    """Decode the samples as `encode_samples` encoded them."""
    if options.samples == "none":
        return None
    if options.samples == "files":
        return ImageSamples(files=tuple(msgspec.msgpack.decode(body, type=list[bytes])))
    if options.samples == "pixels":
        return ImageSamples(pixels=tuple(np.frombuffer(body, np.uint8).reshape(options.shape)))
    samples = from_records(msgspec.json.decode(body))
    names = options.names or samples.names
    matrix = None
    if options.samples == "matrix":
        matrix = np.array(
            [[np.nan if record[name] is None else record[name] for name in names] for record in samples.records], dtype=np.float64
        )
    return RecordSamples(
        records=samples.records, names=names, table=matrix, whole=frozenset(options.whole), numeric=matrix is not None
    )
