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
from typing import TYPE_CHECKING, Any, Unpack

from relevo.converters.keras.silent_import import is_keras
from relevo.converters.options import PackOptions, read_options
from relevo.converters.torch.silent_import import is_torch
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.package.build import STEPS, PackageSpec, build_package
from relevo.package.samples import normalize_samples
from relevo.package.targets import from_one_hot
from relevo.util.files import read_error_text, read_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from relevo.package.conversion import ConversionOptions, ConvertedModel
    from relevo.package.package import Package
    from relevo.package.samples import Samples


def pack(
    model: Any,
    *,
    name: str,
    samples: Any,
    truth: Sequence[Any] | NDArray[Any] | None = None,
    out: str | Path | None = None,
    reference_outputs: Any = None,
    progress: Callable[[int, int, str], object] | None = None,
    **options: Unpack[PackOptions],
) -> Package:
    """Convert a fitted model, prove that it predicts as before, measure it on held-out rows, and write the package.

    model: a fitted scikit-learn estimator or pipeline, a `(DictVectorizer, model)` tuple, a Keras model, or ONNX (bytes or path).
    samples: held-out inputs the model has not seen: a list of dicts, a DataFrame, a matrix (n, features) with `features=`,
        uint8 images (n, h, w[, 3]), or a list of paths, bytes or PIL images.
    truth: one value for each sample: its class, its label, or its number. Required for metrics; from 200 rows on also for the drift
        profile.
    out: a folder, or a path ending in .zip; without it the package stays in memory.
    reference_outputs: the original's scores (n, columns) for an ONNX file, if available: they make the parity check a proof.
    progress: called with (done, total, step).

    Options:
    labels: display names in the order of the model's classes, when these are numbers, true or false; a mapping for classes that are
        texts, {"old": "viejo"}. Labels in another order than the classes are rejected.
    features: column names of a matrix.
    input, preprocessing, output: the whole signature, instead of what the samples show.
    scale: factor from a pixel's 0..255 to the values the model was trained on; required for Keras and ONNX, 1 by default otherwise.
    preprocess: the same by name: "01", "tf", "caffe", "torch", "raw", "vgg19", …; not together with `scale` or `preprocessing`.
    orientation: "exif" (default) rotates an image as its EXIF tag says; "ignore" uses the pixels as stored, as Keras' `load_img`.
    background: colour behind transparent pixels: "white" (default), "black" or "#rrggbb"; "ignore" drops transparency and uses
        the colours as stored, as Keras' `load_img` and torchvision do.
    classes: names of the classes in `truth`, in the order of the scores, for a model that only numbers them; by default a Keras
        model's are 0, 1, … or the texts of `truth` in sorted order.
    decision: Argmax (default) or Bands with *uncertain* between.
    extra_fields: additional response fields, for clients that read other names: {"churn": "is:leaves"}.
    synonyms: model names that old clients use, as "clf.pickle".
    unknown_fields: "refuse" or "ignore" an unknown field. missing_fields: "refuse" a required field that is missing, null
        or true/false, or count it as 0: "zero". By default models with a DictVectorizer behave as it does, and others refuse.
    description: what the model is for. unit: of a regression's value. training_data: digest of the data.
    score_type: type of a network's or an ONNX file's scores; required when neither the graph nor the measured scores determine it.
    tolerance: largest allowed difference, in units of max(1, |score|); 1e-5 in double precision, 1e-4 in single.
    precision: "float16" or "int8" for a large network, calibrated and compared on the samples. max_accuracy_drop: the share of samples
        that may then get another label, and the allowed drop in accuracy (or R²); 0.01 by default.
    figures: draw the confusion matrix, calibration and ROC; requires matplotlib.
    training_curves: one mapping for each epoch, with its number as `epoch` and its metrics by name (`loss`, `validation_loss`).
    extra_figures: additional figures for the card, PNG by file name.
    language: of the card and its figures, "en" or "es"; None: RELEVO_LANGUAGE or the locale.

    Raises InvalidOptionsError, InvalidLabelsError, ConversionError, ParityError, QuantizationLossError, MissingDependencyError,
    InvalidManifestError, and
    PackageError, before anything is converted, when `out` cannot be written.
    """
    read = read_options(PackOptions, options, name=name, out=out, truth=truth, progress=progress)
    return pack_with(
        model, read, name=name, samples=samples, truth=truth, out=out, reference_outputs=reference_outputs, progress=progress
    )


def pack_with(
    model: Any,
    options: ConversionOptions,
    *,
    name: str,
    samples: Any,
    truth: Any = None,
    out: str | Path | None = None,
    reference_outputs: Any = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> Package:
    """The same with options that are checked already. Raises what `pack` raises."""
    normalized = normalize_samples(samples, options.features)
    truth = None if truth is None else from_one_hot(truth)
    if progress is not None:
        progress(0, len(STEPS), STEPS[0])
    package_spec = PackageSpec(
        converted=convert(model, normalized, options, reference_outputs, truth=truth),
        name=name,
        samples=normalized,
        truth=truth,
        options=options,
        reference="supplied" if reference_outputs is not None else "original",
        progress=progress,
    )
    return build_package(package_spec, None if out is None else Path(out))


def convert(
    model: Any,
    samples: Samples,
    options: ConversionOptions,
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
        return convert_onnx(data, samples, options, outputs=outputs)
    if outputs is not None:
        raise InvalidOptionsError(options="no reference_outputs: this model can be asked itself")
    if _starts_with_dictvectorizer(model):
        from relevo.converters.sklearn.dict_vectorizer import convert_dictvectorizer

        return convert_dictvectorizer(model, samples, options)
    if is_keras(model):
        from relevo.converters.keras.convert import convert_keras

        return convert_keras(model, samples, options, truth=truth)
    if is_torch(model):
        from relevo.converters.torch.convert import convert_torch

        return convert_torch(model, samples, options)
    from relevo.converters.boosting.booster import as_estimator
    from relevo.converters.sklearn.convert import convert_sklearn

    return convert_sklearn(as_estimator(model), samples, options)


def _read_onnx_file(path: Path) -> bytes:
    try:
        return read_plain(path)
    except OSError as cause:
        raise ConversionError(reason=f"the file '{path}' cannot be read: {read_error_text(cause)}") from cause


def _starts_with_dictvectorizer(model: Any) -> bool:
    first = model[0] if isinstance(model, tuple) and model else model
    if hasattr(model, "steps"):
        first = model.steps[0][1]
    return hasattr(first, "vocabulary_") and hasattr(first, "feature_names_")
