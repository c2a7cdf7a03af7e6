"""The fields of a record, read off the samples: kinds, categories, examples; never limits.

    RecordSamples ─► (Field, …)

A smallest and largest value seen is no limit of what may come, so none is set.
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

#: A form with more choices than this is no help; the list stays open anyway.
_CHOICES = 200
#: So many whole numbers without a broken one are taken for a whole field.
_ROWS_TO_TRUST = 20
#: Characters of an example number that is shown as it is.
_LONGEST_NUMBER = 12


def infer_fields(samples: RecordSamples, names: Sequence[str] = ()) -> tuple[Field, ...]:
    """One field a name, in the order of `names` (or of the samples). Raises ConversionError on a column of mixed kinds."""
    return tuple(infer_field(samples, name) for name in names or samples.names)


def infer_field(samples: RecordSamples, name: str) -> Field:
    """The field of that name. Raises ConversionError when texts and numbers are mixed in it."""
    values = [record.get(name) for record in samples.records]
    known = [value for value in values if value is not None]
    kind = FieldKind.NUMBER if samples.numeric else _kind(name, known, whole=name in samples.whole)
    return Field(
        name=name,
        kind=kind,
        required=len(known) == len(values),
        categories=_categories(known) if kind is FieldKind.CATEGORY else (),
        example=_example(known, kind),
    )


def fractional(field: Field) -> Field:
    """The field of a model that computes with its value, which takes 41.5 where the samples held whole numbers alone."""
    return msgspec.structs.replace(field, kind=FieldKind.NUMBER) if field.kind is FieldKind.INTEGER else field


def _kind(name: str, known: list[Any], *, whole: bool) -> FieldKind:
    types = {type(value) for value in known}
    if not types or types <= {int, float}:
        counted = whole or (types == {int} and len(known) >= _ROWS_TO_TRUST)
        return FieldKind.INTEGER if counted else FieldKind.NUMBER
    if types == {bool}:
        return FieldKind.BOOLEAN
    if types == {str}:
        return FieldKind.CATEGORY
    raise ConversionError(reason=f"the samples mix {', '.join(sorted(kind.__name__ for kind in types))} in the field '{name}'")


def _categories(known: list[str]) -> tuple[str, ...]:
    return tuple(sorted(text for text, _ in Counter(known).most_common(_CHOICES)))


def _example(known: list[Any], kind: FieldKind) -> str | float | bool | None:
    if not known:
        return None
    if kind in (FieldKind.CATEGORY, FieldKind.BOOLEAN):
        return Counter(known).most_common(1)[0][0]  # type: ignore[no-any-return]  # the column's own kind, checked above
    middle = sorted(known)[len(known) // 2]
    # A value that exists, but no sixteen digits for a person to read: those of a made-up or scaled number say nothing.
    if isinstance(middle, float) and len(repr(middle)) > _LONGEST_NUMBER:
        return float(f"{middle:.3g}")
    return middle  # type: ignore[no-any-return]  # the column's own kind, checked above
