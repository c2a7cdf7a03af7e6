"""Options and result of a conversion.

    flags of `relevo import` ─┐
    keywords of relevo.pack ──┼─► ConversionOptions ─► (JSON, into the sandbox) ─► converter ─► ConvertedModel ─► parity ─► package
    sections of relevo.toml ──┘

Both are plain values, so that they can cross the pipe to a sandboxed process.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads the types at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from relevo.domain.decision import Decision  # noqa: TC001 - msgspec reads the types at run time
from relevo.domain.preprocessing import ImageSteps, Steps, stated
from relevo.domain.signature import Input, MissingFields, Output, UnknownFields  # noqa: TC001 - msgspec reads the types at run time

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Layout = Literal["NHWC", "NCHW", "NHW", "flat"]
Mode = Literal["L", "RGB", "BGR"]
ScoreType = Literal["logits", "probabilities", "percent", "numbers"]
#: Types of a large network's weights.
Numbers = Literal["float32", "float16", "int8"]


def _option(help_text: str = "", metavar: str = "", *, flag: str = "", toml: str = "", **more: Any) -> dict[str, Any]:
    """Metadata of a field.

    help_text, metavar, flag: of the command-line flag, which exists if there is a help text; by default it is named as the field.
    toml: section of relevo.toml with this key. more: `repeat`, whether the flag may be given several times; `minimum` of its number;
    `key`, the name in relevo.toml where it differs.
    """
    return {"help": help_text, "metavar": metavar, "flag": flag, "toml": toml, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """The user's options for a conversion and its package; all are optional. `converters.options` documents them for Python.

    The CLI flags, the keys of relevo.toml and the sandbox's JSON are made from these fields.
    """

    labels: tuple[str, ...] = field(
        default=(), metadata=_option("Names in the order of the model's classes: no,yes", "A,B,…", toml="model")
    )
    #: Class → display name; never together with `labels`.
    renamed: Mapping[str, str] = field(
        default_factory=dict,
        metadata=_option("Other names for classes that have names: old=viejo,young=joven", "CLASS=NAME,…", flag="--rename-labels"),
    )
    #: Class names as in the truth, for a model that does not store them.
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = field(default=(), metadata=_option("Names of a matrix' columns.", "A,B,…"))
    input: Input | None = None
    preprocessing: Steps | None = None
    output: Output | None = None
    output_name: str = field(
        default="", metadata=_option("Which output of an ONNX file has the scores; of a booster: margin.", "NAME", flag="--output")
    )
    kind: Literal["record", "image"] | None = field(default=None, metadata=_option("What goes in.", toml="input"))
    #: Width and height.
    size: tuple[int, int] | None = field(
        default=None, metadata=_option("Pixels an image is brought to.", "WIDTHxHEIGHT", toml="input")
    )
    mode: Mode | None = field(default=None, metadata=_option("Grey or colour, and the order of the colours.", toml="input"))
    layout: Layout | None = field(default=None, metadata=_option("Order of an image tensor's axes.", toml="input"))
    scale: float | None = field(
        default=None, metadata=_option("Factor from a pixel's 0..255 to what the model was trained on.", "NUMBER", toml="input")
    )
    #: Name of a preset; `resolve` replaces it by the values of `scale`, `mean`, `std` and `mode`.
    preprocess: str | None = field(
        default=None, metadata=_option("The same by name: 01, tf, caffe, torch, raw, vgg19, mobilenet_v2, …", "NAME", toml="input")
    )
    #: BGR is the same as the mode of that name.
    channels: Literal["RGB", "BGR"] | None = field(default=None, metadata=_option(toml="input"))
    #: Subtracted from each channel after scaling; each channel is then divided by `std`.
    mean: tuple[float, ...] = field(default=(), metadata=_option(toml="input"))
    std: tuple[float, ...] = field(default=(), metadata=_option(toml="input"))
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] | None = field(
        default=None, metadata=_option(toml="input")
    )
    orientation: Literal["exif", "ignore"] | None = field(
        default=None, metadata=_option("Turn pictures as their camera says, or take the pixels as stored.", toml="input")
    )
    background: str | None = field(
        default=None,
        metadata=_option(
            "Behind transparent pixels: a colour, or ignore to drop transparency; white when left out.",
            "white|black|#rrggbb|ignore",
            toml="input",
        ),
    )
    image_description: str = field(default="", metadata=_option(toml="input", key="description"))
    #: Boosting iterations to use; 0 for all.
    iterations: int = field(
        default=0, metadata=_option("Of a booster, only the first so many iterations; 0 for all.", "NUMBER", minimum=0)
    )
    score_type: ScoreType | None = field(
        default=None, metadata=_option("What the model's scores are, where the file leaves a doubt.")
    )
    unit: str = field(default="", metadata=_option("Unit of a regression's value.", "TEXT"))
    #: `resolve` makes a decision of these three.
    accept: float | None = field(
        default=None, metadata=_option("At or above: the second label. Between reject and accept: uncertain.", toml="decision")
    )
    reject: float | None = field(default=None, metadata=_option("At or below: the first label.", toml="decision"))
    min_confidence: float | None = field(
        default=None, metadata=_option("Below this probability the answer is uncertain.", toml="decision")
    )
    decision: Decision | None = None
    #: Extra fields of an answer: name → value.
    extra_fields: Mapping[str, str] = field(
        default_factory=dict,
        metadata=_option(
            "A field more in each answer, for old clients: churn=is:yes, p=probability:yes; again for each.",
            "NAME=FACT",
            flag="--extra-field",
            repeat=True,
        ),
    )
    synonyms: tuple[str, ...] = field(
        default=(),
        metadata=_option(
            "A name by which old clients ask for it; the file's own when left out. Again for more.",
            "NAME",
            flag="--synonym",
            repeat=True,
            toml="model",
        ),
    )
    #: None keeps the policy of the converter.
    unknown_fields: UnknownFields | None = field(
        default=None, metadata=_option("What becomes of a field that the model does not know.", toml="input")
    )
    missing_fields: MissingFields | None = field(
        default=None, metadata=_option("What becomes of a required field that is missing, null or true/false.", toml="input")
    )
    #: Largest allowed difference to the original, in units of max(1, |score|).
    tolerance: float | None = field(
        default=None, metadata=_option("Largest difference to the original allowed, in units of max(1, |score|).")
    )
    precision: Numbers = field(
        default="float32", metadata=_option("Smaller numbers for a heavy network, judged on the samples.", "float16|int8")
    )
    max_accuracy_drop: float = field(
        default=0.01, metadata=_option("Share of samples that may be answered otherwise then, and of accuracy: 0.01.")
    )
    description: str = field(default="", metadata=_option("What the model is for.", "TEXT", toml="model"))
    figures: bool = field(default=True, metadata=_option("Draw the figures of the model card.", flag="--figures/--no-figures"))
    training_data: str = ""
    #: One entry per epoch: its number, and its metrics by name.
    training_curves: tuple[Mapping[str, float], ...] = ()
    #: Figures of the user: file name → PNG.
    extra_figures: Mapping[str, bytes] = field(default_factory=dict)
    #: Language of the card and its figures; None: that of the environment.
    language: str | None = None

    @property
    def knows_pixels(self) -> bool:
        """Whether the user said how a pixel 0..255 becomes a number."""
        return self.scale is not None or isinstance(self.preprocessing, ImageSteps)

    def image_steps(self, tensor: str, layout: Layout = "NHWC") -> ImageSteps:
        """The preprocessing of an image with explicit orientation and background. layout: where the user gives none."""
        if isinstance(self.preprocessing, ImageSteps):
            steps = msgspec.structs.replace(self.preprocessing, input=tensor)
        else:
            steps = ImageSteps(
                input=tensor,
                scale=1.0 if self.scale is None else self.scale,
                mean=self.mean,
                std=self.std,
                channels="BGR" if self.mode == "BGR" else "RGB",
                layout=self.layout or layout,
                resample=self.resample or "nearest",
            )
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
