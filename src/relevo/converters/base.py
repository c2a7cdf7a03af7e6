"""What a door of the quarantine hands back: a conversion, and the samples that were asked of the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.package.conversion import ConvertedModel
    from relevo.package.samples import Samples


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConversionResult:
    """A conversion and the samples it was asked with; lives until it is sent."""

    converted: ConvertedModel
    samples: Samples
    generated: bool
