"""Input and result of a converter.

    ConversionHints ─► converter ─► ConvertedModel ─► parity ─► package

Both are plain values, so that a sandboxed process can send a ConvertedModel over a pipe as bytes and arrays.
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
    """The user's options for a conversion; all are optional."""

    labels: tuple[str, ...] = ()  # display names in the order of the model's classes
    renamed: Mapping[str, str] = field(default_factory=dict)  # class → display name; never together with `labels`
    classes: tuple[str, ...] = ()  # class names as in the truth, for a model that does not store them
    features: tuple[str, ...] = ()  # column names of a matrix
    input: Input | None = None
    steps: Steps | None = None
    output: Output | None = None
    scale: float | None = None  # factor of an image's pixels, 0..255 → the range of the training
    orientation: Orientation | None = None  # whether the EXIF orientation is applied; None applies it
    background: str | None = None  # colour behind transparent pixels; None means white
    unit: str = ""  # of a regression's value
    scores: str = ""  # meaning of the scores, one of `score_types.CHOICES`; "" where the model defines it

    def picture(self, steps: ImageSteps) -> ImageSteps:
        """The image steps with explicit orientation and background: those of the hints, or the defaults."""
        return stated(steps, orientation=self.orientation, background=self.background)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedModel:
    """A model as ONNX with its signature. Lifetime: from conversion to packaging."""

    onnx: bytes
    input: Input
    steps: Steps
    output: Output
    framework: str  # that wrote the original: "scikit-learn 1.5.2"
    converter: dict[str, str] = field(default_factory=dict)  # library → version
    #: Scores of the original for the samples, float64 (n, columns); None when the original could not run.
    outputs: NDArray[np.float64] | None = None
    #: Label indices from the original's own `predict` for the samples, (n,); None where it gives scores only.
    predicted: NDArray[np.intp] | None = None
    #: The model's own class names, as text in the order of the labels; the truth may use these.
    classes: tuple[str, ...] = ()
    #: The model's own decision rule, where it is not the most probable class; the user's rule overrides it.
    decision: Decision | None = None
