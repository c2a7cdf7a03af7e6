"""What each option of `relevo.pack` must be, so that a slip ends in a sentence that names it.

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
_PATHS, _PICTURE_STEPS = (str, Path), (ImageSteps, MatrixSteps, ColumnSteps)
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "name": ((str,), _TEXT),
    "out": (_PATHS, "a path"),
    "input": ((ImageInput, RecordInput), "an ImageInput or a RecordInput"),
    "steps": (_PICTURE_STEPS, "ImageSteps, MatrixSteps or ColumnSteps"),
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
#: One entry each.
_LISTS = ("truth", "labels", "classes", "features", "learning")
#: Each letter of a text may be a label, and nothing else.
_OF_LETTERS = ("labels", "classes")
_CHOICES = {
    "orientation": ("exif", "ignore"),
    "scores": ("logits", "probabilities", "percent", "numbers"),
}


def refuse_other_kinds(**options: Any) -> None:
    """Options that are not what they must be; None is none. Raises InvalidManifestError naming the first."""
    for name, value in options.items():
        if value is not None or name == "name":
            expected = _problem(name, value)
            if expected:
                raise InvalidManifestError.told(
                    f"The option {name} cannot be used: {expected} is expected, not a {type(value).__name__}."
                )
            choices = _CHOICES.get(name)
            if choices is not None and value not in choices:
                raise InvalidManifestError.told(f"The option {name} cannot be used: it must be one of {', '.join(choices)}.")


def _problem(name: str, value: Any) -> str | None:
    """What was expected in its place, or None."""
    if name in _LISTS:
        text = isinstance(value, str) and name not in _OF_LETTERS
        return None if isinstance(value, Iterable) and not text and not isinstance(value, bytes) else _LIST
    if name == "progress":
        return None if callable(value) else "a function"
    if name not in _KINDS:
        return None
    kinds, expected = _KINDS[name]
    return None if isinstance(value, kinds) and not (isinstance(value, bool) and expected == _NUMBER) else expected
