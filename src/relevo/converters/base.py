"""Request and result of converting a file in the sandbox.

importing ─► ConversionRequest, the file, its samples ─► open_file of a converter ─► ConversionResult ─► importing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from relevo.package.conversion import ConversionOptions

if TYPE_CHECKING:
    from relevo.package.conversion import ConvertedModel
    from relevo.package.samples import Samples


class ConversionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the sandboxed process is to convert. Bodies that follow it: the file, a second file or nothing, then the samples."""

    #: `replay`: the first body is ONNX from an earlier conversion, the second its signature; only the samples are predicted again.
    format: str  # one of `formats.IMPORTABLE`, or "replay"
    options: ConversionOptions = ConversionOptions()
    compression: str = ""
    second: bool = False  # whether a separate vectorizer follows
    source: str = ""  # library that wrote the file, read from its bytes: "scikit-learn 0.24.2"
    samples: Literal["none", "records", "matrix", "files", "pixels"] = "none"
    names: tuple[str, ...] = ()  # of the samples' columns
    whole: tuple[str, ...] = ()  # integer columns
    shape: tuple[int, ...] = ()  # of a matrix or of pixels
    bodies: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConversionResult:
    """A conversion and the samples for which the original was evaluated. Lifetime: until it is sent to the parent process."""

    converted: ConvertedModel
    samples: Samples
    generated: bool
