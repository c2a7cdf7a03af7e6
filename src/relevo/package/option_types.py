"""Type checks of the options of `relevo.pack`, with error messages that name the option.

name=3 ─► "The option name cannot be used: a text is expected, not an int."
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from relevo.domain.decision import ArgmaxDecision, ThresholdDecision
from relevo.domain.preprocessing import ColumnSteps, ImageSteps, MatrixSteps
from relevo.domain.signature import ImageInput, Output, RecordInput
from relevo.errors import InvalidManifestError

_TEXT, _LIST, _NUMBER = "a text", "a list", "a number"
_PATHS, _STEPS = (str, Path), (ImageSteps, MatrixSteps, ColumnSteps)
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "name": ((str,), _TEXT),
    "out": (_PATHS, "a path"),
    "input": ((ImageInput, RecordInput), "an ImageInput or a RecordInput"),
    "steps": (_STEPS, "ImageSteps, MatrixSteps or ColumnSteps"),
    "output": ((Output,), "an Output"),
    "scale": ((Real,), _NUMBER),
    "preprocess": ((str,), _TEXT),
    "background": ((str,), _TEXT),
    "decision": ((ArgmaxDecision, ThresholdDecision), "Argmax or Bands"),
    "answer": ((Mapping,), "a dict"),
    "description": ((str,), _TEXT),
    "unit": ((str,), _TEXT),
    "training_data": ((str,), _TEXT),
    "tolerance": ((Real,), _NUMBER),
    "max_loss": ((Real,), _NUMBER),
    "drawings": ((Mapping,), "a dict"),
    "language": ((str,), _TEXT),
}
#: Options with several entries.
_LISTS = ("truth", "labels", "classes", "features", "learning")
#: Options for which a text is valid: each letter is an entry.
_LISTS_OR_TEXT = ("labels", "classes")
_CHOICES = {
    "orientation": ("exif", "ignore"),
    "scores": ("logits", "probabilities", "percent", "numbers"),
}


def refuse_other_kinds(**options: Any) -> None:
    """Checks the type of each option; None means not given. Raises InvalidManifestError naming the first wrong one."""
    for name, value in options.items():
        if value is not None or name == "name":
            expected = _expected_type(name, value)
            if expected:
                raise InvalidManifestError.with_message(
                    f"The option {name} cannot be used: {expected} is expected, not a {type(value).__name__}."
                )
            choices = _CHOICES.get(name)
            if choices is not None and value not in choices:
                raise InvalidManifestError.with_message(
                    f"The option {name} cannot be used: it must be one of {', '.join(choices)}."
                )


def _expected_type(name: str, value: Any) -> str | None:
    """The expected type in words, or None if the value has it."""
    if name in _LISTS:
        text = isinstance(value, str) and name not in _LISTS_OR_TEXT
        return None if isinstance(value, Iterable) and not text and not isinstance(value, bytes) else _LIST
    if name == "progress":
        return None if callable(value) else "a function"
    if name not in _KINDS:
        return None
    kinds, expected = _KINDS[name]
    return None if isinstance(value, kinds) and not (isinstance(value, bool) and expected == _NUMBER) else expected
