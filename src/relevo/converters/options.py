"""Options of a conversion, as the user gives them and as the sandbox receives them.

cli, import_model ─► ConversionOptions ─► sandbox protocol ─► converters
"""

from __future__ import annotations

from typing import Literal

import msgspec


class ConversionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Request to the sandboxed process. Bodies that follow it: the file, a second file or nothing, then the samples."""

    #: `replay`: the first body is ONNX from an earlier conversion, the second its signature; only the samples are predicted again.
    format: str  # one of `formats.IMPORTABLE`, or "replay"
    compression: str = ""
    second: bool = False  # whether a separate vectorizer follows
    orientation: Literal["exif", "ignore"] | None = None  # of images; None: exif
    background: str | None = None  # behind transparent pixels; None: white
    source: str = ""  # library that wrote the file, read from its bytes: "scikit-learn 0.24.2"
    labels: tuple[str, ...] = ()
    renamed: dict[str, str] = {}  # class → display name
    features: tuple[str, ...] = ()
    kind: Literal["", "record", "image"] = ""
    scale: float = 1.0
    mode: Literal["", "L", "RGB", "BGR"] = ""
    layout: Literal["", "NHWC", "NCHW", "NHW", "flat"] = ""
    mean: tuple[float, ...] = ()  # subtracted from each channel after scaling
    std: tuple[float, ...] = ()  # each channel is then divided by it
    size: tuple[int, int] | None = None  # width, height
    output: str = ""
    rounds: int = 0  # boosting rounds to use; 0 for all
    unit: str = ""
    scores: Literal["", "logits", "probabilities", "percent", "numbers"] = ""
    told: tuple[str, ...] = ()  # names of the options that the user set
    samples: Literal["none", "records", "matrix", "files", "pixels"] = "none"
    names: tuple[str, ...] = ()  # of the samples' columns
    whole: tuple[str, ...] = ()  # integer columns
    shape: tuple[int, ...] = ()  # of a matrix or of pixels
    bodies: tuple[int, ...] = ()
