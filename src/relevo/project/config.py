"""relevo.toml as frozen values; for an unknown key the error suggests the nearest known one.

[model] name and labels · [data] where the examples are · [input] image preprocessing · [decision] when a prediction is uncertain
[answer] extra fields of an answer, under the project's own names
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from relevo.config import read_toml
from relevo.converters.preprocessing_presets import steps_from_preset
from relevo.domain.decision import ArgmaxDecision, Decision, ThresholdDecision
from relevo.domain.extra_fields import problem_of
from relevo.domain.preprocessing import ImageSteps, background_problem, stated
from relevo.domain.signature import ImageInput, MissingFields, Task, UnknownFields
from relevo.errors import ConfigError, InvalidOptionsError, UnknownSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ModelSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[model]: the name and the labels of the model."""

    name: str
    description: str = ""
    #: Display names: of classes that are numbers, in their order; of any classes, a table {class = "name"}.
    labels: tuple[str, ...] | dict[str, str] = ()
    #: Other names that old clients use for the model, such as "clf.pickle".
    synonyms: tuple[str, ...] = ()


class DataSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[data]: where the examples are and which of them are held out."""

    #: A folder with one subfolder a class, a .csv, a .npz with x and y, or a .py with load().
    path: str
    #: Column of a .csv that holds the truth.
    target: str = ""
    #: Column of a .csv that identifies the subject of a row; default: all values of the row. Never an input of the model.
    identity: str = ""
    #: Columns of a .csv that are not inputs, or folders that are not classes.
    ignore: tuple[str, ...] = ()
    #: For a folder of images: a regular expression; files with the same match stay on one side of the split.
    together: str = ""
    #: Share of the examples held out.
    held_out: float = 0.25


class InputSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[input]: how images are preprocessed. Records are described by the data itself."""

    kind: Literal["image", "record"] = "record"
    size: tuple[int, int] | None = None  # height, width in pixels
    mode: Literal["L", "RGB"] = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "nearest"
    #: Whether a camera's EXIF orientation is applied, or the pixels are taken as stored.
    orientation: Literal["exif", "ignore"] = "exif"
    #: Background of transparent pixels: "white", "black" or "#rrggbb"; "ignore" drops transparency.
    background: str = "white"
    channels: Literal["RGB", "BGR"] = "RGB"
    #: Preset of scale, mean, std and channels ("01", "tf", "vgg19", …) instead of numbers.
    preprocess: str = ""
    #: Layout of the images that train(run) gets: rows of float64 (n, h·w·c), or float32 (n, h, w, c), (n, c, h, w) or (n, h, w).
    layout: Literal["flat", "NHWC", "NCHW", "NHW"] = "flat"
    description: str = ""
    #: Of records: how an unknown field, and a required one that is missing, null or true/false, is handled. By default
    #: a DictVectorizer's model ignores the former and counts the latter as 0, as before; any other model rejects both.
    unknown_fields: UnknownFields | None = None
    missing_fields: MissingFields | None = None


class DecisionSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[decision]: accept and reject together make bands; least alone makes a prediction uncertain below it."""

    accept: float | None = None
    reject: float | None = None
    least: float | None = None


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project's relevo.toml. Lifetime: one training."""

    folder: Path
    model: ModelSection
    data: DataSection
    input: InputSection
    decision: DecisionSection
    #: [answer]: extra fields of an answer, name → value.
    answer: Mapping[str, str] = msgspec.field(default_factory=dict)

    def image(self) -> tuple[ImageInput, ImageSteps] | None:
        """Return the image input and its preprocessing, or None for records. Raises ConfigError when settings are missing or conflict."""
        section = self.input
        if section.kind == "record":
            return None
        if section.unknown_fields is not None or section.missing_fields is not None:
            raise ConfigError(reason="[input] takes unknown_fields and missing_fields for records, not for pictures")
        if section.size is None:
            raise ConfigError(reason="[input] needs size = [height, width] for pictures")
        height, width = section.size
        if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
            raise ConfigError(reason=f"[input] size = [height, width] must lie in 1..{_MAX_SIDE}")
        image_input = ImageInput(width=width, height=height, mode=section.mode, description=section.description)
        problem = background_problem(section.background)
        if problem:
            raise ConfigError(reason=f"[input] {problem}")
        steps = msgspec.structs.replace(_pixel_steps(section), resample=section.resample, layout=section.layout)
        return image_input, stated(steps, orientation=section.orientation, background=section.background)

    def rule(self) -> Decision:
        """Return the decision rule. Raises ConfigError for half a rule or two."""
        section = self.decision
        if section.accept is None and section.reject is None:
            return ArgmaxDecision(min_confidence=section.least or 0.0)
        if section.accept is None or section.reject is None or section.least is not None:
            raise ConfigError(reason="[decision] takes accept and reject together, or least alone")
        return ThresholdDecision(accept_at=section.accept, reject_at=section.reject)


def _pixel_steps(section: InputSection) -> ImageSteps:
    """Return the preprocessing of a pixel. Raises ConfigError for an unknown preset, or a preset and numbers."""
    if not section.preprocess:
        return ImageSteps(input="pixels", scale=section.scale, mean=section.mean, std=section.std, channels=section.channels)
    if (section.scale, section.mean, section.std, section.channels) != (1.0, (), (), "RGB"):
        raise ConfigError(reason="[input] takes preprocess, or scale, mean, std and channels, and not both")
    try:
        return steps_from_preset(section.preprocess)
    except InvalidOptionsError as cause:
        raise ConfigError(reason=f"[input] preprocess needs {cause.facts['options']}") from cause


#: Maximum width and height of an image, in pixels.
_MAX_SIDE = 4096
_SECTIONS: dict[str, Any] = {"model": ModelSection, "data": DataSection, "input": InputSection, "decision": DecisionSection}


def read_project(folder: Path) -> Project:
    """Read the project in this folder. Raises ConfigError, UnknownSettingError."""
    path = folder / "relevo.toml"
    if not os.path.lexists(path):
        raise ConfigError(
            reason=f"there is no project in {folder.resolve()}, for it has no relevo.toml; `relevo new NAME` writes one"
        )
    sections = read_toml(path)
    parts: dict[str, Any] = {name: _read_section(path.name, name, sections.get(name, {})) for name in _SECTIONS}
    if not 0.0 < parts["data"].held_out < 1.0:
        raise ConfigError(reason="[data] held_out is the share of the examples held out, and lies between 0 and 1")
    return Project(
        folder=folder, **parts, answer=_validate_answer(path.name, sections.get("answer", {}), _known_labels(parts["model"]))
    )


def _known_labels(model: ModelSection) -> tuple[str, ...]:
    """Return the labels where relevo.toml lists all of them; a table may name some only."""
    return () if isinstance(model.labels, dict) else model.labels


def _validate_answer(file: str, fields: dict[str, Any], labels: tuple[str, ...]) -> dict[str, str]:
    """Validate [answer] before anything is trained. Raises ConfigError."""
    not_text = next((name for name, value in fields.items() if not isinstance(value, str)), None)
    problem = f"{not_text} must be a text" if not_text else problem_of(fields, Task.CLASSIFICATION, labels or None)
    if problem:
        raise ConfigError(reason=f"{file} [answer]: {problem}")
    return fields


def _read_section(file: str, name: str, values: dict[str, Any]) -> Any:
    section_type = _SECTIONS[name]
    keys = section_type.__struct_fields__
    for key in values:
        if key not in keys:
            nearest = difflib.get_close_matches(key, keys, n=1, cutoff=0.0)[0]
            raise UnknownSettingError(source=f"{file} [{name}]", name=key, nearest=nearest)
    try:
        return msgspec.convert(values, section_type)
    except msgspec.ValidationError as cause:
        raise ConfigError(reason=f"{file} [{name}]: {cause}") from cause
