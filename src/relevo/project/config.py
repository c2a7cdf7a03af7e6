"""relevo.toml as frozen values; for an unknown key the error suggests the nearest known one.

[model] name and labels · [data] where the examples are · [input] image preprocessing · [decision] when a prediction is uncertain
[extra_fields] extra fields of an answer, under the project's own names
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from relevo.config import read_toml
from relevo.converters.options import resolve
from relevo.domain.extra_fields import problem_of
from relevo.domain.preprocessing import background_problem
from relevo.domain.signature import ImageInput, Task
from relevo.errors import ConfigError, InvalidOptionsError, UnknownSettingError
from relevo.package.conversion import ConversionOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relevo.domain.preprocessing import ImageSteps

_T = TypeVar("_T")


class ModelSection(msgspec.Struct, frozen=True, kw_only=True):
    """[model]: the name; its other keys, as those of [input] and [decision], are fields of ConversionOptions."""

    name: str


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


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project's relevo.toml. Lifetime: one training."""

    folder: Path
    name: str
    data: DataSection
    options: ConversionOptions

    def image(self) -> tuple[ImageInput, ImageSteps] | None:
        """Return the image input and its preprocessing, or None for records. Raises ConfigError when settings are missing or conflict."""
        options = self.options
        if options.kind != "image":
            return None
        if options.unknown_fields is not None or options.missing_fields is not None:
            raise ConfigError(reason="[input] takes unknown_fields and missing_fields for records, not for pictures")
        if options.size is None:
            raise ConfigError(reason="[input] needs size = [height, width] for pictures")
        width, height = options.size
        if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
            raise ConfigError(reason=f"[input] size = [height, width] must lie in 1..{_MAX_SIDE}")
        mode: Literal["L", "RGB"] = "L" if options.mode == "L" else "RGB"
        image_input = ImageInput(width=width, height=height, mode=mode, description=options.image_description)
        return image_input, options.image_steps("pixels", "flat")


#: Maximum width and height of an image, in pixels.
_MAX_SIDE = 4096


def read_project(folder: Path) -> Project:
    """Read the project in this folder. Raises ConfigError, UnknownSettingError, InvalidManifestError."""
    path = folder / "relevo.toml"
    if not os.path.lexists(path):
        raise ConfigError(
            reason=f"there is no project in {folder.resolve()}, for it has no relevo.toml; `relevo new NAME` writes one"
        )
    sections = read_toml(path)
    _refuse_unknown(path.name, "data", sections.get("data", {}), DataSection.__struct_fields__)
    data = _convert(path.name, "data", sections.get("data", {}), DataSection)
    if not 0.0 < data.held_out < 1.0:
        raise ConfigError(reason="[data] held_out is the share of the examples held out, and lies between 0 and 1")
    model = _convert(path.name, "model", sections.get("model", {}), ModelSection)
    values: dict[str, Any] = {}
    for section in ("model", "input", "decision"):
        values |= _read_options(path.name, section, sections.get(section, {}))
    extra_fields = _validate_extra_fields(path.name, sections.get("extra_fields", {}), tuple(values.get("labels", ())))
    if problem := background_problem(values.get("background", "")):
        raise ConfigError(reason=f"[input] {problem}")
    try:
        options = resolve({**values, "extra_fields": extra_fields})
    except InvalidOptionsError as cause:
        raise ConfigError(reason=f"[input] preprocess needs {cause.facts['options']}") from cause
    return Project(folder=folder, name=model.name, data=data, options=options)


def _read_options(file: str, section: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of ConversionOptions that this section sets. Raises ConfigError, UnknownSettingError."""
    names = {
        field.metadata.get("key", field.name): field.name
        for field in dataclasses.fields(ConversionOptions)
        if field.metadata.get("toml") == section
    }
    _refuse_unknown(file, section, values, (*names, "name") if section == "model" else tuple(names))
    if isinstance(values.get("labels"), dict):
        names["labels"] = "renamed"
    fields = {names[key]: value for key, value in values.items() if key in names}
    options = _convert(file, section, fields, ConversionOptions)
    if options.size is not None:
        options = dataclasses.replace(options, size=options.size[::-1])  # height and width in the file
    return {name: getattr(options, name) for name in fields}


def _refuse_unknown(file: str, section: str, values: dict[str, Any], known: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise UnknownSettingError(source=f"{file} [{section}]", name=key, nearest=nearest)


def _convert(file: str, section: str, values: dict[str, Any], kind: type[_T]) -> _T:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as cause:
        raise ConfigError(reason=f"{file} [{section}]: {cause}") from cause


def _validate_extra_fields(file: str, fields: dict[str, Any], labels: tuple[str, ...]) -> dict[str, str]:
    """Validate [extra_fields] before anything is trained. labels: where relevo.toml lists all of them. Raises ConfigError."""
    not_text = next((name for name, value in fields.items() if not isinstance(value, str)), None)
    problem = f"{not_text} must be a text" if not_text else problem_of(fields, Task.CLASSIFICATION, labels or None)
    if problem:
        raise ConfigError(reason=f"{file} [extra_fields]: {problem}")
    return fields
