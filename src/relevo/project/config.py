"""relevo.toml as frozen values; a key nobody knows is refused with the nearest known one.

[model] what it is called · [data] where the examples are · [input] how a picture becomes numbers · [decision] when to be unsure
[answer] what else an answer tells, under names of the project's own
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
    """[model]: what the model is called and what it tells apart."""

    name: str
    description: str = ""
    #: Display names: of classes that are numbers, in their order; of any classes, a table {class = "name"}.
    labels: tuple[str, ...] | dict[str, str] = ()
    #: Names by which old clients ask for the model, as "clf.pickle".
    synonyms: tuple[str, ...] = ()


class DataSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[data]: where the examples are and which of them are held out."""

    #: A folder with one folder a class, a .csv, a .npz with x and y, or a .py with load().
    path: str
    #: Column of a .csv that holds the truth.
    target: str = ""
    #: Column of a .csv that says which row is the same thing; all values of the row when left out. Never shown to the model.
    identity: str = ""
    #: Columns of a .csv that the model does not see, or folders that are no class.
    ignore: tuple[str, ...] = ()
    #: For a folder of pictures: a regular expression; files whose names match it alike are never on two sides of the split.
    together: str = ""
    #: Share of the examples held out.
    held_out: float = 0.25


class InputSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[input]: how pictures are brought to the numbers the model sees. Records are described by the data itself."""

    kind: Literal["image", "record"] = "record"
    size: tuple[int, int] | None = None  # height, width in pixels
    mode: Literal["L", "RGB"] = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "nearest"
    #: Whether a camera's EXIF orientation is applied, or the pixels are taken as stored.
    orientation: Literal["exif", "ignore"] = "exif"
    #: Behind transparent pixels: "white", "black" or "#rrggbb"; "ignore" drops transparency.
    background: str = "white"
    channels: Literal["RGB", "BGR"] = "RGB"
    #: Scale, mean, std and channels by one name ("01", "tf", "vgg19", …) instead of by numbers.
    preprocess: str = ""
    #: How train(run) gets pictures: rows of float64 (n, h·w·c), or float32 (n, h, w, c), (n, c, h, w) or (n, h, w).
    layout: Literal["flat", "NHWC", "NCHW", "NHW"] = "flat"
    description: str = ""
    #: Of records: what becomes of a field that nobody named, and of a required one that is missing, null or true/false. Left out,
    #: a DictVectorizer's model ignores the one and counts the other as 0, as it always did; any other refuses both.
    unknown_fields: UnknownFields | None = None
    missing_fields: MissingFields | None = None


class DecisionSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[decision]: accept and reject together make bands; least alone makes the most probable label unsure below it."""

    accept: float | None = None
    reject: float | None = None
    least: float | None = None


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project's relevo.toml; lives as long as one training."""

    folder: Path
    model: ModelSection
    data: DataSection
    input: InputSection
    decision: DecisionSection
    #: [answer]: fields beside the answer's own, name → fact.
    answer: Mapping[str, str] = msgspec.field(default_factory=dict)

    def image(self) -> tuple[ImageInput, ImageSteps] | None:
        """How pictures are taken in, or None for records. Raises ConfigError when that is not all said, or said twice."""
        told = self.input
        if told.kind == "record":
            return None
        if told.unknown_fields is not None or told.missing_fields is not None:
            raise ConfigError(reason="[input] takes unknown_fields and missing_fields for records, not for pictures")
        if told.size is None:
            raise ConfigError(reason="[input] needs size = [height, width] for pictures")
        height, width = told.size
        if not (1 <= height <= _MOST_SIDE and 1 <= width <= _MOST_SIDE):
            raise ConfigError(reason=f"[input] size = [height, width] must lie in 1..{_MOST_SIDE}")
        wanted = ImageInput(width=width, height=height, mode=told.mode, description=told.description)
        problem = background_problem(told.background)
        if problem:
            raise ConfigError(reason=f"[input] {problem}")
        steps = msgspec.structs.replace(_numbers(told), resample=told.resample, layout=told.layout)
        return wanted, stated(steps, orientation=told.orientation, background=told.background)

    def rule(self) -> Decision:
        """When the answer is *uncertain*. Raises ConfigError for half a rule or two."""
        told = self.decision
        if told.accept is None and told.reject is None:
            return ArgmaxDecision(least=told.least or 0.0)
        if told.accept is None or told.reject is None or told.least is not None:
            raise ConfigError(reason="[decision] takes accept and reject together, or least alone")
        return ThresholdDecision(accept=told.accept, reject=told.reject)


def _numbers(told: InputSection) -> ImageSteps:
    """What is done to a pixel's 0..255. Raises ConfigError for an unknown name, or a name and numbers."""
    if not told.preprocess:
        return ImageSteps(input="pixels", scale=told.scale, mean=told.mean, std=told.std, channels=told.channels)
    if (told.scale, told.mean, told.std, told.channels) != (1.0, (), (), "RGB"):
        raise ConfigError(reason="[input] takes preprocess, or scale, mean, std and channels, and not both")
    try:
        return steps_from_preset(told.preprocess)
    except InvalidOptionsError as cause:
        raise ConfigError(reason=f"[input] preprocess needs {cause.facts['options']}") from cause


#: Pixels a model's picture may have along a side.
_MOST_SIDE = 4096
_SECTIONS: dict[str, Any] = {"model": ModelSection, "data": DataSection, "input": InputSection, "decision": DecisionSection}


def read_project(folder: Path) -> Project:
    """The project in this folder. Raises ConfigError, UnknownSettingError."""
    path = folder / "relevo.toml"
    if not os.path.lexists(path):
        raise ConfigError(
            reason=f"there is no project in {folder.resolve()}, for it has no relevo.toml; `relevo new NAME` writes one"
        )
    sections = read_toml(path)
    parts: dict[str, Any] = {name: _section(path.name, name, sections.get(name, {})) for name in _SECTIONS}
    if not 0.0 < parts["data"].held_out < 1.0:
        raise ConfigError(reason="[data] held_out is the share of the examples held out, and lies between 0 and 1")
    return Project(folder=folder, **parts, answer=_answer(path.name, sections.get("answer", {}), _known_labels(parts["model"])))


def _known_labels(model: ModelSection) -> tuple[str, ...]:
    """The labels where relevo.toml names them all; a table need not."""
    return () if isinstance(model.labels, dict) else model.labels


def _answer(file: str, told: dict[str, Any], labels: tuple[str, ...]) -> dict[str, str]:
    """[answer]; seen through before anything is trained. Raises ConfigError."""
    wrong = next((name for name, fact in told.items() if not isinstance(fact, str)), None)
    problem = f"{wrong} must be a text" if wrong else problem_of(told, Task.CLASSIFICATION, labels or None)
    if problem:
        raise ConfigError(reason=f"{file} [answer]: {problem}")
    return told


def _section(file: str, name: str, told: dict[str, Any]) -> Any:
    kind = _SECTIONS[name]
    known = kind.__struct_fields__
    for key in told:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise UnknownSettingError(source=f"{file} [{name}]", name=key, nearest=nearest)
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as cause:
        raise ConfigError(reason=f"{file} [{name}]: {cause}") from cause
