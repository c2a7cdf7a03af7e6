"""Generates samples from a signature, for a parity check without user samples; they are unfit to measure a model.

    RecordInput | ImageInput ─ seeded ─► RecordSamples | ImageSamples

Deterministic: the same signature gives the same samples on every machine, so they are never transferred.
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
#: Standard deviations of generated numbers; each value draws one, to cover several orders of magnitude.
_MAGNITUDES = (0.1, 1.0, 10.0, 100.0)


def generate_samples(signature: Input, *, rows: int = ROWS, seed: int = 0) -> Samples:
    """Rows of random values that fit the signature; deterministic."""
    rng = np.random.default_rng(seed)
    if isinstance(signature, ImageInput):
        shape = (signature.height, signature.width) if signature.mode == "L" else (signature.height, signature.width, 3)
        return ImageSamples(pixels=tuple(rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(rows)))
    records = tuple({field.name: _value(field, rng) for field in signature.fields} for _ in range(rows))
    numeric = all(field.kind is FieldKind.NUMBER for field in signature.fields)
    return RecordSamples(records=records, names=tuple(field.name for field in signature.fields), numeric=numeric)


def _value(field: Field, rng: np.random.Generator) -> Any:
    if field.kind is FieldKind.CATEGORY:
        return str(rng.choice(field.categories)) if field.categories else "?"
    if field.restrict_to_categories and field.categories:
        return float(rng.choice(field.categories))
    if field.kind is FieldKind.BOOLEAN:
        return bool(rng.integers(2))
    number = float(rng.normal() * rng.choice(_MAGNITUDES))
    low = -np.inf if field.minimum is None else field.minimum
    high = np.inf if field.maximum is None else field.maximum
    number = min(max(number, low), high)
    return round(number) if field.kind is FieldKind.INTEGER else number


def infer_record(model: Any, hints: ConversionHints) -> RecordInput:
    """A record of numeric fields, from the feature names or count of a scikit-learn model. Raises InvalidOptionsError."""
    if isinstance(hints.input, RecordInput):
        return hints.input
    names = hints.features or tuple(str(name) for name in getattr(model, "feature_names_in_", ()))
    names = names or tuple(f"f{column}" for column in range(getattr(model, "n_features_in_", 0)))
    if not names:
        raise InvalidOptionsError(options="samples, since the model does not tell how many features it takes")
    return RecordInput(fields=tuple(Field(name=name, kind=FieldKind.NUMBER, example=1.0) for name in names))
