"""`relevo import`: a model file of a stranger becomes a package, or an error that says what to do.

    file ─ sniff ─ look, trust ─► quarantine: load, convert, answer the samples ─► audit ─► replay ─ parity ─► package

The name of the file is never believed and its code never runs in this process. What the converted model must answer was answered
by the original inside the quarantine: that proves the conversion, not the honesty of the file.
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
from relevo.importing.folder_archive import fold
from relevo.importing.formats import IMPORTABLE, DetectedFormat, Format
from relevo.importing.output_files import read_outputs
from relevo.importing.pickle_scan import HALF
from relevo.importing.reference_outputs import ImportCase, reference_from_current, reference_from_legacy, reference_from_user
from relevo.importing.sample_files import read_samples
from relevo.importing.sandbox import protocol
from relevo.importing.sandbox.client import Visit, visit
from relevo.importing.sandbox.sample_codec import asked, encode_samples
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

_IMPORTS_SHOWN = 12
#: Not pickles, but their loaders evaluate texts of the file and unpickle parts of it.
_CAN_RUN_CODE = frozenset({Format.TORCH_EXPORT, Format.TORCHSCRIPT})
#: Formats that can carry a program, or whose library has been made to run one; they are opened behind strong walls only.
_PROGRAMS = frozenset({Format.PICKLE, Format.KERAS_H5, Format.KERAS_ZIP, Format.KERAS_JSON, Format.SAVED_MODEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The file as it was read: the very bytes that are looked at are those that are opened."""

    path: Path
    data: bytes
    sniffed: DetectedFormat


def import_model(  # noqa: PLR0913 - the one call of an import: all by name, nearly all may be left out
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
    """Take in a file: ONNX, Keras, a SavedModel's folder, XGBoost, LightGBM, PyTorch, or scikit-learn's pickle (joblib's too).

    trust_pickle: a person says that the author is trusted of a pickle, or of a file whose library can be made to run code by it;
        without that nothing of either is loaded.
    accept_weak: open what may run code although this system's quarantine is not strong.
    vectorizer: a second pickle with the DictVectorizer, where it was saved apart; the same trust covers both.
    weights: the HDF5 file with the weights of a Keras architecture in JSON.
    samples: held-out inputs: a file (JSON list, JSON lines, CSV, .npy, .npz), a folder of pictures, or what `relevo.pack` takes.
        Without them, samples are made from the signature: enough to prove the conversion, not to measure the model.
    truth: a column of the samples, a file, or the values. labels: names in the order of the model's classes or scores,
        or a mapping from class to name, as in `relevo.pack`.
    features: names of a matrix' columns. kind, scale, mode, layout, size (width, height), output: what a file may leave open.
        Of a booster `output` may be "margin": the raw score in place of the probability.
    orientation, background: of pictures, as in `relevo.pack`.
    rounds: of a booster, only the first so many rounds, as an early-stopped one is asked; 0 for all.
    preprocess: scale, mean, spread and colour order of a picture by one name: "01", "tf", "caffe", "torch", "raw", "vgg19", …
    scores: what the model's numbers are, where neither its graph nor what it answers leaves no doubt.
    releases: what wrote a pickle, "scikit-learn==0.24.2" first: they are installed in a throw-away environment, in which the
        original answers the samples. python: the interpreter for that environment, a path or a name; else the one that runs this.
    outputs: the original's scores (n, columns) for the samples, an array or a file; they then judge the conversion.
    precision, max_loss: smaller numbers for a heavy network and what they may cost, as in `relevo.pack`.
    answer: fields an answer carries beside its own, for clients that read other names: {"churn": "is:leaves"}.
    synonyms: names by which old clients ask for the model. The file's own name is none of them: it is no part of the package.
    unknown_fields, missing_fields: "refuse" or "ignore", "refuse" or "zero", as in `relevo.pack`.
    language: of the card and its figures, as in `relevo.pack`.
    out: a folder, or a path ending in .zip; without it the package stays in memory.
    Raises UnknownFileFormatError, ImportModelError, PickleNotTrustedError, SandboxTooWeakError, SandboxError,
    InvalidOptionsError, MissingDependencyError,
    InvalidLabelsError, ConversionError, InvalidOnnxError, ParityError, InvalidManifestError, LegacyEnvironmentError; PackageError
    when `out` cannot
    be written.
    """
    if out is not None:
        check_output_path(Path(out))
    validate_options(name=name, decision=decision or ArgmaxDecision(), answer=answer or {}, synonyms=synonyms)
    refuse_bad_background(background)
    source = _read(Path(path), trusted=trust_pickle)
    _refuse_loose_ends(source, releases, python, outputs=outputs is not None, samples=samples is not None)
    second = _second(source, vectorizer, weights, trusted=trust_pickle)
    _refuse_half(source, second)
    given, values = (None, None) if samples is None else read_samples(samples, truth, features or ())
    options = {
        **named(labels),
        "features": tuple(features or ()),
        "kind": kind or "",
        **_numbers(scale, preprocess, mode),
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
    case = _case(source, second, given, options, accept_weak=accept_weak, bounds=bounds)
    judged = reference_from_legacy(case, releases, python) if releases else reference_from_current(case)
    rows = asked(judged.back, given)
    if outputs is not None:
        judged = reference_from_user(judged, read_outputs(outputs), rows)
    back = judged.back
    if source.sniffed.format is not Format.ONNX:
        _rehearse(back, rows, bounds)
    parts = PackageSpec(
        converted=back.converted,
        name=name,
        samples=rows,
        truth=values,
        description=description,
        decision=decision or ArgmaxDecision(),
        answer=answer or {},
        synonyms=tuple(synonyms),
        unknown_fields=unknown_fields,
        missing_fields=missing_fields,
        against=judged.against,
        origin="generated" if back.generated else "user",
        tolerance=tolerance,
        precision=precision,
        max_loss=max_loss,
        figures=figures,
        source_sha256=hashlib.sha256(source.data).hexdigest(),
        quarantine=back.level,
        words=card_words(language),
        progress=progress,
    )
    return build_package(parts, None if out is None else Path(out))


def _read(path: Path, *, trusted: bool) -> Source:
    """The file, judged by its bytes. Raises UnknownFileFormatError, ImportModelError, PickleNotTrustedError, InvalidOnnxError."""
    sniffed = sniff_path(path)
    refuse_unless_importable(sniffed)
    data = fold(path) if path.is_dir() else read_model_file(path)
    if sniffed.format is Format.PICKLE and not trusted:
        raise PickleNotTrustedError(path=path.name, imports=_imports(sniffed))
    if sniffed.format in _CAN_RUN_CODE and not trusted:
        raise CodeNotTrustedError(path=path.name, format=sniffed.format.value)
    if sniffed.format is Format.ONNX:
        audit(data)
    return Source(path=path, data=data, sniffed=sniffed)


def _second(source: Source, vectorizer: str | Path | None, weights: str | Path | None, *, trusted: bool) -> Source | None:
    """The file that goes with the first, if any. Raises InvalidOptionsError, and what `_read` raises."""
    if source.sniffed.format is Format.KERAS_JSON and weights is None:
        raise InvalidOptionsError(options="--weights FILE, for it is an architecture without its weights")
    given = vectorizer if vectorizer is not None else weights
    if given is None:
        return None
    second = _read(Path(given), trusted=trusted)
    pair = (source.sniffed.format, second.sniffed.format)
    if vectorizer is not None and (pair != (Format.PICKLE, Format.PICKLE) or weights is not None):
        raise InvalidOptionsError(options="no --vectorizer: it goes with a pickled model, and is a pickle itself")
    if weights is not None and pair != (Format.KERAS_JSON, Format.KERAS_H5):
        raise InvalidOptionsError(options="no --weights: an HDF5 file of weights goes with a Keras architecture in JSON")
    return second


def _refuse_half(source: Source, second: Source | None) -> None:
    """A vectorizer without its model. Raises ConversionError."""
    seen = source.sniffed.look
    if second is None and seen is not None and seen.is_half:
        raise ConversionError(reason=HALF)


def _numbers(scale: float | None, preprocess: str | None, mode: str | None) -> dict[str, Any]:
    """What becomes of a pixel, as a task tells it. Raises InvalidOptionsError when it is told twice, or by an unknown name."""
    if preprocess is None:
        return {"scale": 1.0 if scale is None else scale, "mode": mode or "", "told": () if scale is None else ("scale",)}
    if scale is not None:
        raise InvalidOptionsError(options="only one of --preprocess and --scale")
    named = get_preset(preprocess)
    order = "BGR" if named.channels == "BGR" else mode or ""
    return {"scale": named.scale, "mean": named.mean, "std": named.std, "mode": order, "told": ("scale",)}


def _refuse_loose_ends(source: Source, releases: Sequence[str], python: str | Path | None, *, outputs: bool, samples: bool) -> None:
    """Options that only mean something together. Raises InvalidOptionsError."""
    if releases and source.sniffed.format is not Format.PICKLE:
        raise InvalidOptionsError(
            options="no --with: it goes with pickles, which only the library that wrote them reads faithfully"
        )
    if python is not None and not releases:
        raise InvalidOptionsError(options="--with NAME==VERSION, what is to be installed for that --python")
    if outputs and not samples:
        raise InvalidOptionsError(options="--samples, the inputs that the outputs belong to")


def _imports(sniffed: DetectedFormat) -> str:
    """What a pickle would import, the unusual first; the names are the file's own and so kept printable and short."""
    seen = sniffed.look
    if seen is None or not (seen.imports or seen.unusual):
        return "nothing that can be seen"
    unusual = [f"{name}, which is unusual" for name in seen.unusual]
    names = [*unusual, *(name for name in seen.imports if name not in seen.unusual)]
    shown = ["".join(sign for sign in name if sign.isprintable())[:80] for name in names[:_IMPORTS_SHOWN]]
    more = len(names) - len(shown)
    return (
        ", ".join(shown)
        + (f" and {more} more" if more > 0 else "")
        + ("" if seen.complete else "; it could not be read to its end")
    )


def _case(
    source: Source,
    second: Source | None,
    given: Samples | None,
    options: dict[str, Any],
    *,
    accept_weak: bool,
    bounds: Bounds | None,
) -> ImportCase:
    """The file with all that is said of it. Raises InvalidOptionsError."""
    described, body = encode_samples(given)
    task = ConversionOptions(
        format=IMPORTABLE[source.sniffed.format],
        compression=source.sniffed.compression,
        second=second is not None,
        source=source.sniffed.framework,
        **options,
        **described,
    )
    bodies = [source.data, b"" if second is None else second.data, body]
    # An ONNX file is data: it is opened in whatever quarantine this system gives.
    program = source.sniffed.format in _PROGRAMS | _CAN_RUN_CODE
    return ImportCase(task=task, bodies=bodies, samples=given, need_strong=program and not accept_weak, bounds=bounds)


def _rehearse(back: Visit, samples: Samples, bounds: Bounds | None) -> None:
    """Run what the child returned in a further quarantine first: a graph made to run for ever ends there, and not here.

    Raises SandboxError, and ConversionError when it does not run.
    """
    converted = back.converted
    told = protocol.Signature(input=converted.input, steps=converted.steps, output=converted.output)
    described, body = encode_samples(samples)
    visit(
        ConversionOptions(format="replay", **described),
        [converted.onnx, msgspec.json.encode(told), body],
        need_strong=False,
        bounds=bounds,
    )
