"""Infers the fields of a record from samples: kinds, categories and examples.

    RecordSamples ─► (Field, …)

Minimum and maximum are not inferred: the range of the samples is no limit for other inputs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.domain.signature import Field, FieldKind
from relevo.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.package.samples import RecordSamples

#: Maximum number of categories in a form; the list stays open anyway.
_MAX_CATEGORIES = 200
#: Minimum number of rows, all of them integers, for an integer field.
_MIN_INTEGER_ROWS = 20
#: Maximum characters of an example number; a longer one is rounded.
_MAX_NUMBER_LENGTH = 12


def infer_fields(samples: RecordSamples, names: Sequence[str] = ()) -> tuple[Field, ...]:
    """One field per name, in the order of `names` (or of the samples). Raises ConversionError on a column of mixed kinds."""
    return tuple(infer_field(samples, name) for name in names or samples.names)


def infer_field(samples: RecordSamples, name: str) -> Field:
    """The field of that name. Raises ConversionError when its column mixes texts and numbers."""
    values = [record.get(name) for record in samples.records]
    present = [value for value in values if value is not None]
    kind = FieldKind.NUMBER if samples.numeric else _kind(name, present, whole=name in samples.whole)
    return Field(
        name=name,
        kind=kind,
        required=len(present) == len(values),
        categories=_categories(present) if kind is FieldKind.CATEGORY else (),
        example=_example(present, kind),
    )


def fractional(field: Field) -> Field:
    """The field with kind number instead of integer: a numeric model accepts 41.5, even if all samples were integers."""
    return msgspec.structs.replace(field, kind=FieldKind.NUMBER) if field.kind is FieldKind.INTEGER else field


def _kind(name: str, values: list[Any], *, whole: bool) -> FieldKind:
    types = {type(value) for value in values}
    if not types or types <= {int, float}:
        integer = whole or (types == {int} and len(values) >= _MIN_INTEGER_ROWS)
        return FieldKind.INTEGER if integer else FieldKind.NUMBER
    if types == {bool}:
        return FieldKind.BOOLEAN
    if types == {str}:
        return FieldKind.CATEGORY
    raise ConversionError(reason=f"the samples mix {', '.join(sorted(kind.__name__ for kind in types))} in the field '{name}'")


def _categories(values: list[str]) -> tuple[str, ...]:
    return tuple(sorted(text for text, _ in Counter(values).most_common(_MAX_CATEGORIES)))


def _example(values: list[Any], kind: FieldKind) -> str | float | bool | None:
    if not values:
        return None
    if kind in (FieldKind.CATEGORY, FieldKind.BOOLEAN):
        return Counter(values).most_common(1)[0][0]  # type: ignore[no-any-return]  # the column's own kind, checked above
    median = sorted(values)[len(values) // 2]
    # A value of the samples, but rounded if it has many digits: those of a scaled number are not informative.
    if isinstance(median, float) and len(repr(median)) > _MAX_NUMBER_LENGTH:
        return float(f"{median:.3g}")
    return median  # type: ignore[no-any-return]  # the column's own kind, checked above
