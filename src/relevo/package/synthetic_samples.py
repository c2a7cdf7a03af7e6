"""Samples made from a signature, for when nobody gave any: enough to prove a conversion, not to measure a model.

    RecordInput | ImageInput ─ seeded ─► RecordSamples | ImageSamples

The same signature gives the same samples on every machine, so they need not travel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.signature import Field, FieldKind, ImageInput, Input, RecordInput
from relevo.errors import InvalidOptionsError
from relevo.package.samples import ImageSamples, RecordSamples

if TYPE_CHECKING:
    from relevo.package.conversion import ConversionHints
    from relevo.package.samples import Samples

ROWS = 64
#: Numbers in the world run over magnitudes; each row draws one of these.
_MAGNITUDES = (0.1, 1.0, 10.0, 100.0)


def generate_samples(wanted: Input, *, rows: int = ROWS, seed: int = 0) -> Samples:
    """Rows of random values that fit the signature, the same each time."""
    draw = np.random.default_rng(seed)
    if isinstance(wanted, ImageInput):
        shape = (wanted.height, wanted.width) if wanted.mode == "L" else (wanted.height, wanted.width, 3)
        return ImageSamples(pixels=tuple(draw.integers(0, 256, shape, dtype=np.uint8) for _ in range(rows)))
    records = tuple({field.name: _value(field, draw) for field in wanted.fields} for _ in range(rows))
    numeric = all(field.kind is FieldKind.NUMBER for field in wanted.fields)
    return RecordSamples(records=records, names=tuple(field.name for field in wanted.fields), numeric=numeric)


def _value(field: Field, draw: np.random.Generator) -> Any:
    if field.kind is FieldKind.CATEGORY:
        return str(draw.choice(field.categories)) if field.categories else "?"
    if field.closed and field.categories:
        return float(draw.choice(field.categories))
    if field.kind is FieldKind.BOOLEAN:
        return bool(draw.integers(2))
    number = float(draw.normal() * draw.choice(_MAGNITUDES))
    low = -np.inf if field.minimum is None else field.minimum
    high = np.inf if field.maximum is None else field.maximum
    number = min(max(number, low), high)
    return round(number) if field.kind is FieldKind.INTEGER else number


def infer_record(model: Any, hints: ConversionHints) -> RecordInput:
    """A record of plain numbers for a scikit-learn model that tells how many it takes. Raises InvalidOptionsError."""
    if isinstance(hints.input, RecordInput):
        return hints.input
    names = hints.features or tuple(str(name) for name in getattr(model, "feature_names_in_", ()))
    names = names or tuple(f"f{column}" for column in range(getattr(model, "n_features_in_", 0)))
    if not names:
        raise InvalidOptionsError(options="samples, since the model does not tell how many features it takes")
    return RecordInput(fields=tuple(Field(name=name, kind=FieldKind.NUMBER, example=1.0) for name in names))
