"""`relevo.pack`: converts a live model from a notebook or script and builds a package with a parity proof.

model ─ choose converter ─► ConvertedModel ─┐
samples, truth ─────────────────────────────┴─► build_package ─► Package

(DictVectorizer, model) | Pipeline(DictVectorizer, …)   sklearn.dict_vectorizer
ONNX bytes or file                                      onnx_model
Keras                                                   keras.convert
PyTorch                                                 torch.convert
any other fitted estimator                              sklearn.convert
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from relevo.converters.keras.silent_import import is_keras
from relevo.converters.preprocessing_presets import steps_from_preset
from relevo.converters.torch.silent_import import is_torch
from relevo.domain.decision import ArgmaxDecision
from relevo.domain.manifest import refuse_bad_background, validate_options
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.package.archive import check_output_path
from relevo.package.build import STEPS, PackageSpec, build_package
from relevo.package.card.texts import card_words
from relevo.package.class_names import named
from relevo.package.conversion import ConversionHints, ConvertedModel
from relevo.package.option_types import refuse_other_kinds
from relevo.package.samples import Samples, normalize_samples
from relevo.package.targets import from_one_hot, label_text
from relevo.util.files import read_error_text, read_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from relevo.domain.decision import Decision
    from relevo.domain.preprocessing import Steps
    from relevo.domain.signature import Input, MissingFields, Output, UnknownFields
    from relevo.package.package import Package
    from relevo.package.quantization import Numbers


def pack(  # noqa: PLR0913 - the public call of a notebook: all by name, nearly all optional
    model: Any,
    *,
    name: str,
    samples: Any,
    truth: Sequence[Any] | NDArray[Any] | None = None,
    labels: Sequence[str] | Mapping[Any, str] | NDArray[Any] | None = None,
    out: str | Path | None = None,
    features: Sequence[str] | NDArray[Any] | None = None,
    input: Input | None = None,  # noqa: A002 - the manifest's name
    steps: Steps | None = None,
    output: Output | None = None,
    scale: float | None = None,
    preprocess: str | None = None,
    orientation: Literal["exif", "ignore"] | None = None,
    background: str | None = None,
    classes: Sequence[Any] | NDArray[Any] | None = None,
    decision: Decision | None = None,
    answer: Mapping[str, str] | None = None,
    synonyms: Sequence[str] = (),
    unknown_fields: UnknownFields | None = None,
    missing_fields: MissingFields | None = None,
    description: str = "",
    unit: str = "",
    scores: Literal["logits", "probabilities", "percent", "numbers"] | None = None,
    outputs: Any = None,
    training_data: str = "",
    tolerance: float | None = None,
    precision: Numbers = "float32",
    max_loss: float = 0.01,
    figures: bool = True,
    learning: Sequence[Mapping[str, float]] = (),
    drawings: Mapping[str, bytes] | None = None,
    language: str | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> Package:
    """Convert a fitted model, prove that it predicts as before, measure it on held-out rows, and write the package.

    model: a fitted scikit-learn estimator or pipeline, a `(DictVectorizer, model)` tuple, a Keras model, or ONNX (bytes or path).
    samples: held-out inputs the model has not seen: a list of dicts, a DataFrame, a matrix (n, features) with `features=`,
        uint8 images (n, h, w[, 3]), or a list of paths, bytes or PIL images.
    truth: one value for each sample: its class, its label, or its number. Required for metrics; from 200 rows on also for the drift
        profile.
    labels: display names in the order of the model's classes, when these are numbers, true or false; a mapping for classes that are
        texts, {"old": "viejo"}. Labels in another order than the classes are rejected.
    out: a folder, or a path ending in .zip; without it the package stays in memory.
    scale: factor from a pixel's 0..255 to the values the model was trained on; required for Keras and ONNX, 1 by default otherwise.
    preprocess: the same by name: "01", "tf", "caffe", "torch", "raw", "vgg19", …; not together with `scale` or `steps`.
    orientation: "exif" (default) rotates an image as its EXIF tag says; "ignore" uses the pixels as stored, as Keras' `load_img`.
    background: colour behind transparent pixels: "white" (default), "black" or "#rrggbb"; "ignore" drops transparency and uses
        the colours as stored, as Keras' `load_img` and torchvision do.
    classes: names of the classes in `truth`, in the order of the scores, for a model that only numbers them; by default a Keras
        model's are 0, 1, … or the texts of `truth` in sorted order.
    decision: Argmax (default) or Bands with *uncertain* between.
    answer: additional response fields, for clients that read other names: {"churn": "is:leaves"}.
    synonyms: model names that old clients use, as "clf.pickle".
    unknown_fields: "refuse" or "ignore" an unknown field. missing_fields: "refuse" a required field that is missing, null
        or true/false, or count it as 0: "zero". By default models with a DictVectorizer behave as it does, and others refuse.
    scores: type of a network's or an ONNX file's scores; required when neither the graph nor the measured scores determine it.
    outputs: the original's scores (n, columns) for an ONNX file, if available: they make the parity check a proof.
    tolerance: largest allowed difference, in units of max(1, |score|); 1e-5 in double precision, 1e-4 in single.
    precision: "float16" or "int8" for a large network, calibrated and compared on the samples. max_loss: the share of samples that may
        then get another label, and the allowed drop in accuracy (or R²).
    figures: draw the confusion matrix, calibration and ROC; requires matplotlib.
    learning: one mapping for each epoch, with its number as `epoch` and its metrics by name (`loss`, `validation_loss`), for the
        learning curves.
    drawings: additional figures for the card, PNG by file name.
    language: of the card and its figures, "en" or "es"; None: RELEVO_LANGUAGE or the locale.
    progress: called with (done, total, step).
    Raises InvalidOptionsError, InvalidLabelsError, ConversionError, ParityError, QuantizationLossError, MissingDependencyError,
    InvalidManifestError, and
    PackageError, before anything is converted, when `out` cannot be written.
    """
    refuse_other_kinds(
        name=name,
        truth=truth,
        labels=labels,
        out=out,
        features=features,
        input=input,
        steps=steps,
        output=output,
        scale=scale,
        preprocess=preprocess,
        orientation=orientation,
        background=background,
        classes=classes,
        decision=decision,
        answer=answer,
        description=description,
        unit=unit,
        scores=scores,
        training_data=training_data,
        tolerance=tolerance,
        max_loss=max_loss,
        learning=learning,
        drawings=drawings,
        language=language,
        progress=progress,
    )
    if out is not None:
        check_output_path(Path(out))
    validate_options(name=name, decision=decision or ArgmaxDecision(), answer=answer or {}, synonyms=synonyms)
    refuse_bad_background(background)
    names = tuple(str(name) for name in features) if features is not None else ()
    normalized = normalize_samples(samples, names)
    hints = ConversionHints(
        **named(labels),
        classes=tuple(label_text(value) for value in classes) if classes is not None else (),
        features=names,
        input=input,
        steps=_steps(steps, scale, preprocess),
        output=output,
        scale=scale,
        orientation=orientation,
        background=background,
        unit=unit,
        scores=scores or "",
    )
    truth = None if truth is None else from_one_hot(truth)
    if progress is not None:
        progress(0, len(STEPS), STEPS[0])
    package_spec = PackageSpec(
        converted=convert(model, normalized, hints, outputs, truth=truth),
        name=name,
        samples=normalized,
        truth=truth,
        description=description,
        decision=decision or ArgmaxDecision(),
        answer=answer or {},
        synonyms=tuple(synonyms),
        unknown_fields=unknown_fields,
        missing_fields=missing_fields,
        reference="supplied" if outputs is not None else "original",
        tolerance=tolerance,
        precision=precision,
        max_loss=max_loss,
        figures=figures,
        training_curves=tuple(learning),
        extra_figures=drawings or {},
        training_data=training_data,
        card_texts=card_words(language),
        progress=progress,
    )
    return build_package(package_spec, None if out is None else Path(out))


def convert(
    model: Any,
    samples: Samples,
    hints: ConversionHints,
    outputs: Any = None,
    *,
    truth: Sequence[Any] | NDArray[Any] | None = None,
) -> ConvertedModel:
    """Passes the model to the converter of its type. Raises ConversionError, InvalidOptionsError, MissingDependencyError."""
    if isinstance(model, type):
        raise ConversionError(reason=f"it is the class {model.__name__} itself, and no fitted model of it")
    # Imports only the converter that is needed: an ONNX file can be packed without scikit-learn.
    if isinstance(model, bytes | str | Path):
        from relevo.converters.onnx_model import convert_onnx

        data = model if isinstance(model, bytes) else _read_onnx_file(Path(model))
        return convert_onnx(data, samples, hints, outputs=outputs)
    if outputs is not None:
        raise InvalidOptionsError(options="no outputs: this model can be asked itself")
    if _starts_with_dictvectorizer(model):
        from relevo.converters.sklearn.dict_vectorizer import convert_dictvectorizer

        return convert_dictvectorizer(model, samples, hints)
    if is_keras(model):
        from relevo.converters.keras.convert import convert_keras

        return convert_keras(model, samples, hints, truth=truth)
    if is_torch(model):
        from relevo.converters.torch.convert import convert_torch

        return convert_torch(model, samples, hints)
    from relevo.converters.boosting.booster import as_estimator
    from relevo.converters.sklearn.convert import convert_sklearn

    return convert_sklearn(as_estimator(model), samples, hints)


def _read_onnx_file(path: Path) -> bytes:
    try:
        return read_plain(path)
    except OSError as cause:
        raise ConversionError(reason=f"the file '{path}' cannot be read: {read_error_text(cause)}") from cause


def _steps(steps: Steps | None, scale: float | None, preprocess: str | None) -> Steps | None:
    if preprocess is None:
        return steps
    if steps is not None or scale is not None:
        raise InvalidOptionsError(options="only one of preprocess, scale and steps")
    return steps_from_preset(preprocess)


def _starts_with_dictvectorizer(model: Any) -> bool:
    first = model[0] if isinstance(model, tuple) and model else model
    if hasattr(model, "steps"):
        first = model.steps[0][1]
    return hasattr(first, "vocabulary_") and hasattr(first, "feature_names_")
