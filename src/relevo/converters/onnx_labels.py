"""The label that an ONNX file answers beside its scores, held against the largest score, which is what would be served.

    samples ─┬─ scores ─ largest ─► place ─┐
             └─ label output ─► name ──────┴─ alike for every sample? ─► as it is | ConversionError, InvalidLabelsError

A file that names its classes tells their order by that, so that labels in another order are found.
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

_KINDS = ("tensor(int64)", "tensor(int32)", "tensor(string)")
#: Scores nearer to each other are one, and either may be the largest.
_TIE = 1e-6


def refuse_other_answers(
    converted: ConvertedModel, outputs: Sequence[Tensor], samples: Samples, classes: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    """Compare the file's own label with what its scores would be served as.

    classes: the names the file has for the columns of its scores; () where only its label tells. labels: as a person named them.
    Raises ConversionError where they differ, InvalidLabelsError where the labels are the file's classes in another order.
    """
    found = [one for one in outputs if one.kind in _KINDS and (len(one.shape) == 1 or one.shape[1:] == (1,))]
    if len(found) != 1 or converted.output.task is not Task.CLASSIFICATION:
        return
    model = build_runnable(converted)
    rows = preprocess_samples(model, samples)
    table = probabilities_of(in_batches(model.run, rows), converted.output)
    asked = build_runnable(replace(converted, output=Output(name=found[0].name, task=Task.REGRESSION)))
    try:
        said = np.asarray(asked.run(rows)).reshape(-1)
    except ModelError:
        return
    order = np.sort(table, axis=1)
    clear = order[:, -1] - order[:, -2] > _TIE
    names = [label_text(one) for one in said[clear].tolist()]
    places = table.argmax(axis=1)[clear]
    known = classes or _counted(said, table.shape[1]) or _learnt(names, places, table.shape[1])
    others = sum(known[place] != name for name, place in zip(names, places.tolist(), strict=True) if known[place])
    if others:
        raise ConversionError(
            reason=f"its own output '{found[0].name[:40]}' names another class than the largest of its scores for {others} of "
            f"{len(samples)} samples, and only the scores would be served; import the model that it was made of"
        )
    if all(known) and set(known) == set(labels):
        refuse_other_order(known, labels)


def _counted(said: NDArray[Any], columns: int) -> tuple[str, ...]:
    """The places themselves, where the file answers with them."""
    if said.dtype.kind not in "iu" or not ((said >= 0) & (said < columns)).all():
        return ()
    return tuple(str(place) for place in range(columns))


def _learnt(names: list[str], places: NDArray[np.intp], columns: int) -> tuple[str, ...]:
    """The name that each place mostly has; empty for a place that no sample has."""
    return tuple(
        max(Counter(name for name, one in zip(names, places.tolist(), strict=True) if one == place).items(), key=_often)[0]
        if (places == place).any()
        else ""
        for place in range(columns)
    )


def _often(item: tuple[str, int]) -> int:
    return item[1]
