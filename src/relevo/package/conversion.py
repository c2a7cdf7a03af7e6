"""What a converter is told, and what it gives back.

    Hints ─► converter ─► Converted ─► parity ─► package

Both are plain values, so that a sandboxed process can send a Converted over a pipe as bytes and arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relevo.domain.preprocessing import stated

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from relevo.domain.decision import Decision
    from relevo.domain.preprocessing import ImageSteps, Orientation, Steps
    from relevo.domain.signature import Input, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionHints:
    """What a person said about a model beyond the model itself; everything may be left out."""

    labels: tuple[str, ...] = ()  # display names in the order of the model's classes
    renamed: Mapping[str, str] = field(default_factory=dict)  # class → display name; never together with `labels`
    classes: tuple[str, ...] = ()  # what the truth calls them, for a model that does not know it itself
    features: tuple[str, ...] = ()  # names of a matrix' columns
    input: Input | None = None
    steps: Steps | None = None
    output: Output | None = None
    scale: float | None = None  # factor for an image's pixels, 0..255 → what the model was trained on
    orientation: Orientation | None = None  # whether a camera's EXIF orientation is applied; it is where nothing is said
    background: str | None = None  # colour behind transparent pixels; white where nothing is said
    unit: str = ""  # of a regression's value
    scores: str = ""  # one of `scores.CHOICES`, for a model that does not tell what its numbers are

    def picture(self, steps: ImageSteps) -> ImageSteps:
        """The steps of a picture with orientation and background as said, or the defaults, written out."""
        return stated(steps, orientation=self.orientation, background=self.background)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedModel:
    """A model as ONNX with its signature; lives from conversion to packaging."""

    onnx: bytes
    input: Input
    steps: Steps
    output: Output
    framework: str  # "scikit-learn 1.5.2": what wrote the original
    converter: dict[str, str] = field(default_factory=dict)  # library → version
    #: Scores the original gave for the samples, float64 (n, columns); None when nobody could ask it.
    outputs: NDArray[np.float64] | None = None
    #: Places of the labels that the original's own `predict` answered to the samples, (n,); None where it answers scores alone.
    predicted: NDArray[np.intp] | None = None
    #: What the model itself calls its classes, as text in the order of the labels; the truth may use these.
    classes: tuple[str, ...] = ()
    #: The model's own rule, where it is not the most probable class; what a person says comes first.
    decision: Decision | None = None
