"""What the quarantined child does once its walls stand: load, convert, answer the samples, and put it all into bytes.

    Task ─┬─ pickle: load ─ mend what old releases wrote otherwise ─ arrange ─► live model ─ converter ─┐
          ├─ ONNX: what it tells, what a person must tell ─ converter ──────────────────────────────────┤
          └─ a framework's file: `open_file(task, bodies, samples)` of its converter ───────────────────┴─► Opened | Stopped

This runs a stranger's code. Nothing here is called by the parent.
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
from relevo.converters.onnx_options import ASK_SCALE, ask_for_kind, hints_for_onnx, picture_hints, with_feature_count
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
from relevo.importing.pickle_scan import HALF
from relevo.importing.sandbox import protocol
from relevo.package.conversion import ConversionHints, ConvertedModel
from relevo.package.samples import ImageSamples, RecordSamples, from_records
from relevo.package.synthetic_samples import generate_samples, infer_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.package.samples import Samples

_WORDS = 400
#: How the reason begins when a pickle names a module that is nowhere; another release of scikit-learn does not help then.
MISSING_MODULE = "it needs the Python module"
_OF_SCIKIT = frozenset({"sklearn", "numpy", "scipy", "joblib"})
_CODES: tuple[tuple[type[RelevoError], Any], ...] = (
    (InvalidOptionsError, "options_missing"),
    (MissingDependencyError, "extra_missing"),
    (ConversionError, "conversion_failed"),
    (InvalidOnnxError, "onnx_refused"),
    (InvalidLabelsError, "labels_refused"),
    (ImportModelError, "import_refused"),
)


def run_request(given: IO[bytes]) -> bytes:
    """One Task as bytes to one frame as bytes; whatever goes wrong becomes a Stopped."""
    try:
        # Nothing else holds what is read here: a heavy file would be in memory twice.
        frame = next(iter(protocol.frames(given.read(), ConversionOptions)))
        with warnings.catch_warnings():
            # Old models grumble about their age; parity judges them.
            warnings.simplefilter("ignore")
            done = _convert(frame.header, frame.bodies)
        return _sent(done)
    except RelevoError as refusal:
        return protocol.pack(_stopped(refusal))
    except MemoryError:
        return protocol.pack(
            protocol.FailureMessage(
                code="quarantine_failed", reason="the file needs more memory than it is given; --max-memory allows more"
            )
        )
    except Exception as cause:  # noqa: BLE001 - a stranger's code raises whatever it likes
        return protocol.pack(protocol.FailureMessage(code="conversion_failed", reason=f"{type(cause).__name__}: {cause}"[:_WORDS]))


def _stopped(refusal: RelevoError) -> protocol.FailureMessage:
    for kind, code in _CODES:
        if isinstance(refusal, kind):
            words = str(next(iter(refusal.facts.values()), refusal))
            # Converters speak to Python; who imports a file gives flags.
            flag = "--" if kind is InvalidOptionsError and words.startswith(("labels (", "features (", "scores (")) else ""
            return protocol.FailureMessage(code=code, reason=(flag + words)[:_WORDS])
    # A sentence within a sentence, which has a stop of its own.
    words = str(refusal)[:_WORDS].removesuffix(".")
    return protocol.FailureMessage(code="import_refused" if isinstance(refusal, ModelError) else "conversion_failed", reason=words)


def _sent(done: ConversionResult) -> bytes:
    outputs, predicted = done.converted.outputs, done.converted.predicted
    if outputs is not None and predicted is not None:
        outputs = np.column_stack([outputs, predicted])
    header = protocol.ConvertedMessage(
        input=done.converted.input,
        steps=done.converted.steps,
        output=done.converted.output,
        framework=done.converted.framework,
        converter=done.converted.converter,
        outputs=None if outputs is None else (outputs.shape[0], outputs.shape[1]),
        predicted=outputs is not None and predicted is not None,
        samples="generated" if done.generated else "user",
        classes=done.converted.classes,
        decision=done.converted.decision,
        bodies=(0, 0, 0),
    )
    records = done.samples.records if done.generated and isinstance(done.samples, RecordSamples) else None
    numbers = b"" if outputs is None else protocol.numbers_out(outputs)
    return protocol.pack(header, [done.converted.onnx, numbers, msgspec.json.encode(records) if records else b""])


def _convert(task: ConversionOptions, bodies: Sequence[bytes]) -> ConversionResult:
    samples = _samples(task, bodies[2])
    if task.format == "replay":
        return _replay(bodies[0], bodies[1], samples)
    if task.format == "onnx":
        return _convert_onnx(task, bodies[0], samples)
    if task.format in FILE_CONVERTERS:
        # Libraries find a place for temporary files by writing one, which is forbidden here; none of them needs it in the end.
        tempfile.tempdir = str(Path.cwd())
        # Each loads a framework that is large and optional.
        opened: ConversionResult = import_module(FILE_CONVERTERS[task.format]).open_file(task, bodies, samples)
        return opened
    model = find_model([load(body, task.source) for body in bodies[: 2 if task.second else 1]])
    hints = ConversionHints(
        labels=task.labels,
        renamed=task.renamed,
        features=task.features,
        scale=task.scale if task.told else None,
        unit=task.unit,
        orientation=task.orientation,
        background=task.background,
    )
    return _convert_pickle(task, model, samples, hints)


def _convert_pickle(task: ConversionOptions, model: Any, samples: Samples | None, hints: ConversionHints) -> ConversionResult:
    from relevo.converters.sklearn.compat import fix_attributes
    from relevo.converters.sklearn.convert import convert_sklearn
    from relevo.converters.sklearn.dict_vectorizer import convert_dictvectorizer, record_of, split

    fix_attributes(model, task.source)
    vectorized = _begins_with_vectorizer(model)
    given = samples
    if not vectorized and not hasattr(with_feature_count(model), "feature_names_in_"):
        ask_for_kind(int(getattr(with_feature_count(model), "n_features_in_", 0)), task, samples)
    if isinstance(samples, ImageSamples) and "scale" not in task.told:
        raise InvalidOptionsError(options=ASK_SCALE)
    if task.kind == "image":
        hints = picture_hints(model, task, hints)
    if given is None and hints.input is not None:
        given = generate_samples(hints.input)
    elif given is None:
        record = record_of(split(model).vectorizer) if vectorized else infer_record(with_feature_count(model), hints)
        given = generate_samples(record)
    if samples is None and isinstance(given, RecordSamples) and not hints.features:
        # Made up in the model's own order.
        hints = replace(hints, features=given.names)
    converted = convert_dictvectorizer(model, given, hints) if vectorized else convert_sklearn(model, given, hints)
    if task.source:
        # Who wrote it is told by its bytes; who reads it here is a converter.
        here = {"scikit-learn": converted.framework.partition(" ")[2]}
        converted = replace(converted, framework=task.source, converter={**here, **converted.converter})
    return ConversionResult(converted=converted, samples=given, generated=samples is None)


def _convert_onnx(task: ConversionOptions, data: bytes, samples: Samples | None) -> ConversionResult:
    from relevo.converters.onnx_model import convert_onnx
    from relevo.package.parity import score_as_served

    hints = hints_for_onnx(data, task, samples)
    converted = convert_onnx(data, samples, hints)
    given = samples if samples is not None else generate_samples(converted.input)
    # The original is the file itself: what it answers here is what it must answer outside.
    return ConversionResult(
        converted=replace(converted, outputs=score_as_served(converted, given)), samples=given, generated=samples is None
    )


def _replay(onnx: bytes, described: bytes, samples: Samples | None) -> ConversionResult:
    """Answer the samples with ONNX that came out of a quarantine, to see that it ends."""
    from relevo.package.parity import score_as_served

    told = msgspec.json.decode(described, type=protocol.Signature)
    converted = ConvertedModel(onnx=onnx, input=told.input, steps=told.steps, output=told.output, framework="")
    given = samples if samples is not None else generate_samples(converted.input)
    return ConversionResult(converted=replace(converted, outputs=score_as_served(converted, given)), samples=given, generated=False)


# --- from bytes to a live model -----------------------------------------------------------------------------------------


def load(data: bytes, source: str = "") -> Any:
    """Unpickle, joblib's forms included. source: what the bytes say wrote it. Raises MissingDependencyError, ConversionError."""
    try:
        import joblib  # type: ignore[import-untyped]

        # Not imported: that takes a second, and the pickle itself does it when it needs to.
        here = version("scikit-learn")
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
            f"scikit-learn {here} installed here ({type(cause).__name__}: {str(cause)[:160]}). " + _way_out(source, here)
        ) from cause


def _missing_module(cause: Exception) -> str | None:
    """The module that is not installed, unless it is one that another scikit-learn would bring."""
    name = cause.name if isinstance(cause, ModuleNotFoundError) else None
    if name is None or name.partition(".")[0] in _OF_SCIKIT:
        return None
    return "".join(sign for sign in name if sign.isprintable())[:80]


def _way_out(source: str, here: str) -> str:
    if source == f"scikit-learn {here}":
        return "That is the very release that wrote it: the file is damaged, or needs other libraries beside it"
    line = advice(source)
    return f"Repeat with {line}, or fit it again with a newer release" if line else "Fit it again with a newer release"


def find_model(loaded: list[Any]) -> Any:
    """A model, or (vectorizer, model), out of whatever containers people pickle. Raises ConversionError."""
    things = [thing for one in loaded for thing in _spread(one)]
    models = [thing for thing in things if hasattr(thing, "predict")]
    vectorizers = [thing for thing in things if hasattr(thing, "vocabulary_") and hasattr(thing, "feature_names_")]
    if len(models) == 1 and len(vectorizers) == 1:
        return vectorizers[0], models[0]
    if len(models) == 1 and len(things) == 1:
        return models[0]
    if vectorizers and not models:
        raise ConversionError(reason=HALF)
    kinds = ", ".join(type(thing).__name__ for thing in things[:8])
    raise ConversionError(reason=f"it holds {kinds or 'nothing'}; one model was expected, or a DictVectorizer and a model")


def _spread(thing: Any) -> list[Any]:
    if isinstance(thing, tuple | list):
        return list(thing)
    if isinstance(thing, dict):
        return list(thing.values())
    return [thing]


def _begins_with_vectorizer(model: Any) -> bool:
    first = model[0] if isinstance(model, tuple) else model.steps[0][1] if hasattr(model, "steps") else model
    return hasattr(first, "vocabulary_") and hasattr(first, "feature_names_")


def _samples(task: ConversionOptions, body: bytes) -> Samples | None:
    """The samples as the parent packed them."""
    if task.samples == "none":
        return None
    if task.samples == "files":
        return ImageSamples(files=tuple(msgspec.msgpack.decode(body, type=list[bytes])))
    if task.samples == "pixels":
        return ImageSamples(pixels=tuple(np.frombuffer(body, np.uint8).reshape(task.shape)))
    samples = from_records(msgspec.json.decode(body))
    names = task.names or samples.names
    matrix = None
    if task.samples == "matrix":
        matrix = np.array(
            [[np.nan if record[name] is None else record[name] for name in names] for record in samples.records], dtype=np.float64
        )
    return RecordSamples(
        records=samples.records, names=names, table=matrix, whole=frozenset(task.whole), numeric=matrix is not None
    )
