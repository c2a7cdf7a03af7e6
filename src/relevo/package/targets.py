"""The truth a user hands over, as positions among the labels or as numbers.

class as the model knows it · display name · its place, where neither is told ─► position          anything else ─► InvalidLabelError
rows of one-hot columns                    ─► position of the 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.signature import Output, Task
from relevo.errors import InvalidLabelError, InvalidOptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SHOWN = 20


def label_text(value: Any) -> str:
    """A class as a label: 3 and np.int64(3) are "3"; a float that is whole is written without its point."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return str(plain)


def from_one_hot(truth: Any) -> Any:
    """One truth a sample: columns with a single 1 in each row, as networks are trained with, become the place of the 1.

    A DataFrame or matrix of one column is that column, and a Series its values, whatever their index.
    """
    table = np.asarray(truth)
    if table.ndim == 2 and table.shape[1] == 1:
        return table[:, 0]
    if table.ndim != 2 or table.dtype.kind not in "fiub":
        return table if hasattr(truth, "to_numpy") else truth
    single = bool(((table == 0) | (table == 1)).all() and (table.sum(axis=1) == 1).all())
    return table.argmax(axis=1) if single else truth


def read_truth(truth: Sequence[Any] | NDArray[Any], output: Output, classes: Sequence[str], rows: int) -> NDArray[Any]:
    """Positions (n,) for a classification, float64 (n,) for a regression.

    classes: the model's own names in the order of the labels, where they differ from them. Raises InvalidOptionsError when there
    is not one truth a sample, InvalidLabelError when one is neither a class nor a label.
    """
    if len(truth) != rows:
        raise InvalidOptionsError(options=f"truth for every sample ({rows} samples, {len(truth)} truths)")
    if output.task is Task.REGRESSION:
        return np.asarray(truth, dtype=np.float64).reshape(-1)
    places = {label: place for place, label in enumerate(output.labels)}
    # What the model itself calls its classes wins over a display name that happens to read the same.
    places |= {name: place for place, name in enumerate(classes)}
    texts = [label_text(value) for value in truth]
    counted = {str(place): place for place in range(len(output.labels))}
    if not classes and not places.keys() & set(texts) and counted.keys() >= set(texts):
        # A file that does not name its classes counts them, and so does a truth of 0, 1, …
        places = counted
    stranger = next((row for row, text in enumerate(texts) if text not in places), None)
    if stranger is not None:
        known = ", ".join([*output.labels][:_SHOWN])
        raise InvalidLabelError(choices=f"{known}; row {stranger + 1} of the truth says '{texts[stranger][:40]}'")
    return np.array([places[text] for text in texts], dtype=np.intp)
