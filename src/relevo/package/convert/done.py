"""What a door of the quarantine hands back: a conversion, and the samples that were asked of the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relevo.package.convert.converted import Converted

if TYPE_CHECKING:
    from relevo.package.samples import Samples


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Done:
    """A conversion and the samples it was asked with; lives until it is sent."""

    converted: Converted
    samples: Samples
    generated: bool


def changed(converted: Converted, **changes: Any) -> Converted:  # noqa: ANN401 - its own fields
    """The same conversion with some fields changed."""
    fields = {name: getattr(converted, name) for name in Converted.__dataclass_fields__}
    return Converted(**{**fields, **changes})
