"""Converts the user's truth to label indices or numbers.

class name of the model · display name · index, if classes have no names ─► label index          anything else ─► InvalidLabelError
rows of one-hot columns                                                  ─► index of the 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.signature import Output, Task
from relevo.errors import InvalidLabelError, InvalidOptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MAX_SHOWN = 20


def label_text(value: Any) -> str:
    """A class as label text: 3 and np.int64(3) are "3"; an integral float has no decimal point."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return str(plain)


def from_one_hot(truth: Any) -> Any:
    """One value per sample: one-hot rows become the index of the 1.

    A DataFrame or matrix of one column becomes that column, and a Series its values; its index is ignored.
    """
    table = np.asarray(truth)
    if table.ndim == 2 and table.shape[1] == 1:
        return table[:, 0]
    if table.ndim != 2 or table.dtype.kind not in "fiub":
        return table if hasattr(truth, "to_numpy") else truth
    is_one_hot = bool(((table == 0) | (table == 1)).all() and (table.sum(axis=1) == 1).all())
    return table.argmax(axis=1) if is_one_hot else truth


def read_truth(truth: Sequence[Any] | NDArray[Any], output: Output, classes: Sequence[str], rows: int) -> NDArray[Any]:
    """Label indices (n,) for a classification, float64 (n,) for a regression.

    classes: the model's own class names in the order of the labels, where they differ. Raises InvalidOptionsError when the number
    of values differs from `rows`, InvalidLabelError when a value is neither a class nor a label.
    """
    if len(truth) != rows:
        raise InvalidOptionsError(options=f"truth for every sample ({rows} samples, {len(truth)} truths)")
    if output.task is Task.REGRESSION:
        return np.asarray(truth, dtype=np.float64).reshape(-1)
    index_of = {label: index for index, label in enumerate(output.labels)}
    # A class name of the model takes precedence over an equal display name.
    index_of |= {name: index for index, name in enumerate(classes)}
    texts = [label_text(value) for value in truth]
    by_number = {str(index): index for index in range(len(output.labels))}
    if not classes and not index_of.keys() & set(texts) and by_number.keys() >= set(texts):
        # The model does not name its classes, and the truth numbers them from 0.
        index_of = by_number
    unknown = next((row for row, text in enumerate(texts) if text not in index_of), None)
    if unknown is not None:
        choices = ", ".join([*output.labels][:_MAX_SHOWN])
        raise InvalidLabelError(choices=f"{choices}; row {unknown + 1} of the truth says '{texts[unknown][:40]}'")
    return np.array([index_of[text] for text in texts], dtype=np.intp)
