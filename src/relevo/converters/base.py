"""Result of converting a file in the sandbox: the conversion and the samples that were used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.package.conversion import ConvertedModel
    from relevo.package.samples import Samples


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConversionResult:
    """A conversion and the samples for which the original was evaluated. Lifetime: until it is sent to the parent process."""

    converted: ConvertedModel
    samples: Samples
    generated: bool
