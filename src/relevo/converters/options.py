"""From keywords to ConversionOptions: checks types, resolves shorthands, rejects contradictions before anything is converted.

relevo.pack, import_model ─ keywords ─► read_options ─► ConversionOptions
flags, relevo.toml ──────── fields ───► resolve ────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypedDict, Union, get_args, get_origin, get_type_hints

from numpy.typing import NDArray  # noqa: TC002 - read at run time

from relevo.converters.preprocessing_presets import get_preset
from relevo.domain.decision import ArgmaxDecision, Decision, ThresholdDecision
from relevo.domain.manifest import refuse_bad_background, validate_options
from relevo.domain.preprocessing import ImageSteps, Steps
from relevo.domain.signature import ImageInput, Input, MissingFields, Output, UnknownFields
from relevo.errors import InvalidManifestError, InvalidOptionsError
from relevo.package.archive import check_output_path
from relevo.package.class_names import named
from relevo.package.conversion import ConversionOptions, Layout, Mode, Numbers, ScoreType
from relevo.package.targets import label_text


class PackOptions(TypedDict, total=False):
    """Keywords of `relevo.pack`, which its docstring explains."""

    labels: Sequence[str] | Mapping[Any, str] | NDArray[Any] | str | None
    features: Sequence[str] | NDArray[Any] | None
    input: Input | None
    preprocessing: Steps | None
    output: Output | str | None
    scale: float | None
    preprocess: str | None
    orientation: Literal["exif", "ignore"] | None
    background: str | None
    classes: Sequence[Any] | NDArray[Any] | str | None
    decision: Decision | None
    extra_fields: Mapping[str, str] | None
    synonyms: Sequence[str]
    unknown_fields: UnknownFields | None
    missing_fields: MissingFields | None
    description: str
    unit: str
    score_type: ScoreType | None
    training_data: str
    tolerance: float | None
    precision: Numbers
    max_accuracy_drop: float
    figures: bool
    training_curves: Sequence[Mapping[str, float]]
    extra_figures: Mapping[str, bytes] | None
    language: str | None


class ImportOptions(PackOptions, total=False):
    """Keywords of `import_model`: those of `relevo.pack`, and what a file may not specify."""

    kind: Literal["record", "image"] | None
    mode: Mode | None
    layout: Layout | None
    size: tuple[int, int] | None
    iterations: int


#: Fields that only flags and relevo.toml have.
_SHORTHANDS = frozenset({"renamed", "output_name", "accept", "reject", "min_confidence"})
#: How an error names the first type of an option.
_WORDS: Mapping[Any, str] = {
    str: "a text",
    float: "a number",
    Path: "a path",
    Mapping: "a dict",
    Sequence: "a list",
    Callable: "a function",
    ImageInput: "an ImageInput or a RecordInput",
    ImageSteps: "ImageSteps, MatrixSteps or ColumnSteps",
    ArgmaxDecision: "Argmax or Bands",
    Output: "an Output",
}
#: Types of the arguments that are no options.
_ARGUMENTS = {
    "name": str,
    "out": Path | str | None,
    "truth": Sequence[Any] | None,
    "progress": Callable[..., Any] | None,
}


def read_options(
    kinds: type, keywords: Mapping[str, Any], *, name: str, out: str | Path | None, **others: Any
) -> ConversionOptions:
    """Checks the arguments of a call, before anything is converted, and returns its keywords as options.

    kinds: the TypedDict of the keywords. others: arguments that are no options.
    Raises InvalidManifestError naming the option, InvalidOptionsError, PackageError when `out` cannot be written.
    """
    for keyword in keywords.keys() - get_type_hints(kinds).keys() - _SHORTHANDS:
        raise TypeError(f"there is no option '{keyword}'")
    refuse_other_types({"name": name, "out": out, **others, **keywords}, {**get_type_hints(kinds), **_ARGUMENTS})
    if out is not None:
        check_output_path(Path(out))
    options = resolve({keyword: value for keyword, value in keywords.items() if value is not None})
    validate_options(
        name=name, decision=options.decision or ArgmaxDecision(), answer=options.extra_fields, synonyms=options.synonyms
    )
    return options


def resolve(values: Mapping[str, Any]) -> ConversionOptions:
    """Returns fields or keywords as options, with all shorthands resolved. Raises InvalidOptionsError, InvalidManifestError."""
    options = {**values, "labels": ()} | named(values.get("labels"))
    if isinstance(options.get("output"), str):
        options["output_name"] = options.pop("output")
    for name, as_text in (("features", str), ("classes", label_text)):
        options[name] = tuple(as_text(value) for value in options.get(name, ()))
    for name in ("synonyms", "training_curves"):
        options[name] = tuple(options.get(name, ()))
    rule = _decision(*(options.pop(name, None) for name in ("accept", "reject", "min_confidence")))
    options["decision"] = options.get("decision") or rule
    if options.pop("channels", None) == "BGR":
        options["mode"] = "BGR"
    if (preset := options.pop("preprocess", None)) is not None:
        options |= _preset_values(preset, options)
    refuse_bad_background(options.get("background"))
    return ConversionOptions(**options)


def _preset_values(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    if any(options.get(other) is not None for other in ("preprocessing", "scale", "mean", "std")):
        raise InvalidOptionsError(options="only one of preprocess and scale")
    preset = get_preset(name)
    mode = {"mode": "BGR"} if preset.channels == "BGR" else {}
    return {"scale": preset.scale, "mean": preset.mean, "std": preset.std, **mode}


def _decision(accept: float | None, reject: float | None, min_confidence: float | None) -> Decision | None:
    if accept is None and reject is None:
        return None if min_confidence is None else ArgmaxDecision(min_confidence=min_confidence)
    if accept is None or reject is None or min_confidence is not None:
        raise InvalidManifestError.with_message(
            "The option accept/reject/min_confidence cannot be used: accept and reject go together, and without min_confidence."
        )
    return ThresholdDecision(accept_at=accept, reject_at=reject)


def refuse_other_types(values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Checks the type of each option; None means not given. Raises InvalidManifestError naming the first wrong one."""
    for name, value in values.items():
        if (value is None and name != "name") or name not in hints:
            continue
        alternatives = get_args(hints[name]) if get_origin(hints[name]) in (Union, UnionType) else (hints[name],)
        first = get_origin(alternatives[0]) or alternatives[0]
        if any(_has_type(value, kind) for kind in alternatives):
            continue
        if first is Literal:
            choices = ", ".join(get_args(alternatives[0]))
            raise InvalidManifestError.with_message(f"The option {name} cannot be used: it must be one of {choices}.")
        if first in _WORDS:
            expected = _WORDS[first]
            raise InvalidManifestError.with_message(
                f"The option {name} cannot be used: {expected} is expected, not a {type(value).__name__}."
            )


def _has_type(value: Any, kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if origin is Literal:
        return value in get_args(kind)
    if origin is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    if origin is Sequence:
        return isinstance(value, Iterable) and not isinstance(value, str | bytes)
    return isinstance(value, origin)
