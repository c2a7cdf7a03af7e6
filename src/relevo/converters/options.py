"""Options of a conversion, as a user gives them and as the sandbox receives them.

cli, relevo.pack ─► ConversionOptions ─► sandbox protocol ─► converters
"""

from __future__ import annotations

from typing import Literal

import msgspec


class ConversionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the child is asked to do. Bodies: the file, a second file or nothing, then the samples."""

    #: `replay`: the first body is ONNX that a child gave, the second a Described; the samples are answered once more.
    format: str  # one of `formats.DOORS`, or "replay"
    compression: str = ""
    second: bool = False  # a separate vectorizer comes with it
    orientation: Literal["exif", "ignore"] | None = None  # of pictures; None: exif
    background: str | None = None  # behind transparent pixels; None: white
    source: str = ""  # "scikit-learn 0.24.2": what the bytes say wrote it
    labels: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # class → display name
    features: tuple[str, ...] = ()
    kind: Literal["", "record", "image"] = ""
    scale: float = 1.0
    mode: Literal["", "L", "RGB", "BGR"] = ""
    layout: Literal["", "NHWC", "NCHW", "NHW", "flat"] = ""
    mean: tuple[float, ...] = ()  # taken off each channel after scaling
    std: tuple[float, ...] = ()  # each channel is divided by it then
    size: tuple[int, int] | None = None  # width, height
    output: str = ""
    rounds: int = 0  # of a booster, only the first so many; 0 for all
    unit: str = ""
    scores: Literal["", "logits", "probabilities", "percent", "numbers"] = ""
    told: tuple[str, ...] = ()  # which options the user gave
    samples: Literal["none", "records", "matrix", "files", "pixels"] = "none"
    names: tuple[str, ...] = ()  # of the samples' columns
    whole: tuple[str, ...] = ()  # columns of integers
    shape: tuple[int, ...] = ()  # of a matrix or of pixels
    bodies: tuple[int, ...] = ()
