"""Compares the label output of an ONNX file with the class of the largest score, which is what would be served.

    samples ─┬─ scores ─ argmax ─► class index ─┐
             └─ label output ─► class name ─────┴─ equal for every sample? ─► accepted | ConversionError, InvalidLabelsError

A label output with class names also shows the order of the classes, so labels given in another order are detected.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.decision import probabilities_of
from relevo.domain.signature import Output, Task
from relevo.errors import ConversionError, ModelError
from relevo.package.class_names import refuse_other_order
from relevo.package.parity import build_runnable, in_batches, preprocess_samples
from relevo.package.targets import label_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from relevo.converters.onnx_inputs import Tensor
    from relevo.package.conversion import ConvertedModel
    from relevo.package.samples import Samples

_LABEL_TYPES = ("tensor(int64)", "tensor(int32)", "tensor(string)")
#: Scores closer than this count as a tie, in which either may be the largest.
_TIE = 1e-6


def check_label_output(
    converted: ConvertedModel, outputs: Sequence[Tensor], samples: Samples, classes: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    """Compares the file's own label output with the label that would be served.

    classes: the file's names for the columns of its scores; () when only its label output has names. labels: as the user gave them.
    Raises ConversionError when the labels differ, InvalidLabelsError when `labels` are the file's classes in another order.
    """
    label_outputs = [
        value for value in outputs if value.kind in _LABEL_TYPES and (len(value.shape) == 1 or value.shape[1:] == (1,))
    ]
    if len(label_outputs) != 1 or converted.output.task is not Task.CLASSIFICATION:
        return
    model = build_runnable(converted)
    rows = preprocess_samples(model, samples)
    probabilities = probabilities_of(in_batches(model.run, rows), converted.output)
    label_model = build_runnable(replace(converted, output=Output(name=label_outputs[0].name, task=Task.REGRESSION)))
    try:
        predicted = np.asarray(label_model.run(rows)).reshape(-1)
    except ModelError:
        return
    ordered = np.sort(probabilities, axis=1)
    decided = ordered[:, -1] - ordered[:, -2] > _TIE
    names = [label_text(value) for value in predicted[decided].tolist()]
    indices = probabilities.argmax(axis=1)[decided]
    class_names = (
        classes
        or _names_from_indices(predicted, probabilities.shape[1])
        or _most_frequent_names(names, indices, probabilities.shape[1])
    )
    mismatches = sum(class_names[index] != name for name, index in zip(names, indices.tolist(), strict=True) if class_names[index])
    if mismatches:
        raise ConversionError(
            reason=f"its own output '{label_outputs[0].name[:40]}' names another class than the largest of its scores for {mismatches} of "
            f"{len(samples)} samples, and only the scores would be served; import the model that it was made of"
        )
    if all(class_names) and set(class_names) == set(labels):
        refuse_other_order(class_names, labels)


def _names_from_indices(predicted: NDArray[Any], columns: int) -> tuple[str, ...]:
    """The column indices as names, if the label output consists of column indices; else ()."""
    if predicted.dtype.kind not in "iu" or not ((predicted >= 0) & (predicted < columns)).all():
        return ()
    return tuple(str(index) for index in range(columns))


def _most_frequent_names(names: list[str], indices: NDArray[np.intp], columns: int) -> tuple[str, ...]:
    """The most frequent name for each column; empty for a column that no sample is assigned to."""
    return tuple(
        max(Counter(name for name, index in zip(names, indices.tolist(), strict=True) if index == column).items(), key=_count)[0]
        if (indices == column).any()
        else ""
        for column in range(columns)
    )


def _count(item: tuple[str, int]) -> int:
    return item[1]
