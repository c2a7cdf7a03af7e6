"""A fitted scikit-learn model to ONNX: of the ways to write it, the first that answers as the original does.

    model ─ look_at ─► task, classes          samples ─ layouts ─► double | single precision, matrix | columns | image
                 └── our own graph | skl2onnx ─────┘ ─ serve the samples ─ compare ─► Converted

Linear models and trees are written by ourselves, exactly; the rest, and every step before, by skl2onnx, in double precision where
that runs. What comes out is only a candidate: `relevo.package.parity` decides.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.converters.boosting.booster import answers_itself, framework_of
from relevo.converters.onnx_graph import inputs_read
from relevo.converters.sklearn.estimator import inspect_estimator, one_line
from relevo.converters.sklearn.exact_export import can_be_exact, write_exact
from relevo.converters.sklearn.input_layouts import Layout, input_layouts, original_input
from relevo.converters.sklearn.probes import (
    Original,
    Probes,
    closed_fields,
    probed_gap,
    probes_of,
    refuse_absent,
    refuse_unlike,
)
from relevo.converters.sklearn.skl2onnx_export import write_onnx
from relevo.converters.sklearn.sparse import reads_sparse, sparse_refusal
from relevo.domain.preprocessing import ColumnSteps
from relevo.domain.signature import RecordInput
from relevo.errors import ConversionError, InvalidInputError, RelevoError
from relevo.package.conversion import ConversionHints, ConvertedModel
from relevo.package.parity import default_tolerance, difference, score_as_served
from relevo.package.samples import RecordSamples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from relevo.converters.onnx_graph import ExportedGraph
    from relevo.converters.sklearn.estimator import Estimator
    from relevo.domain.preprocessing import Steps
    from relevo.domain.signature import Input
    from relevo.package.samples import Samples

#: Far from the samples rounding weighs more: how many times the tolerance is allowed there.
UNLIKE = 10
#: What keeps a ColumnTransformer's matrix dense.
_DENSE = "ColumnTransformer(sparse_threshold=0)"
#: The same for a matrix of SciPy's, and what makes 0 always missing.
_DENSE_SAMPLES = "toarray(), or give samples without stored zeros, after eliminate_zeros()"


def convert_sklearn(model: Any, samples: Samples, hints: ConversionHints | None = None) -> ConvertedModel:
    """The model as ONNX, with the outputs the original gave for the samples.

    Raises MissingDependencyError without skl2onnx, InvalidOptionsError when something only a person knows is missing, and ConversionError.
    """
    told = hints or ConversionHints()
    estimator = inspect_estimator(model)
    first = next(iter(input_layouts(estimator, samples, told)))
    if isinstance(samples, RecordSamples):
        refuse_absent(estimator, samples)
    given = original_input(estimator, first, samples)
    if estimator.classes:
        estimator = estimator.settled(given)
    estimator = replace(estimator, sparse=reads_sparse(estimator, given))
    told, probes = _beyond(estimator, first, samples, told)
    dense = _DENSE_SAMPLES if hasattr(given, "tocsr") else _DENSE
    found = best_conversion(_attempts(estimator, samples, told), samples, probes, dense=dense if estimator.sparse else "")
    if estimator.labelled:
        refuse_other_labels(found, samples)
    return found


def _beyond(estimator: Estimator, layout: Layout, samples: Samples, hints: ConversionHints) -> tuple[ConversionHints, Probes]:
    """What the original makes of inputs that the samples lack: the hints with its closed fields, and what it answers to others."""
    if (
        not isinstance(samples, RecordSamples)
        or not isinstance(layout.input, RecordInput)
        or not (hasattr(estimator.original, "fit") or answers_itself(estimator.model))
    ):
        return hints, Probes()
    original = Original(estimator=estimator, layout=layout, samples=samples)
    record = layout.input
    if hints.input is None:
        record = closed_fields(original, record)
    return replace(hints, input=record), probes_of(original.ask, samples, record)


def refuse_other_labels(converted: ConvertedModel, samples: Samples) -> None:
    """The answers beside the scores are the original's, or nothing is converted. Raises ConversionError."""
    assert converted.outputs is not None  # noqa: S101 - every candidate has asked the original
    apart = int((score_as_served(converted, samples)[:, -1] != converted.outputs[:, -1]).sum())
    if apart:
        raise ConversionError(
            reason=f"its predict answers other classes than its scores say, and the converted model another one at {apart} of "
            f"{len(samples)} samples"
        )


def best_conversion(
    attempts: Iterable[Callable[[], ConvertedModel]], samples: Samples, probes: Probes | None = None, *, dense: str = ""
) -> ConvertedModel:
    """The first that answers samples and probes within its tolerance, else the nearest.

    dense: where XGBoost reads a sparse matrix, the step that would give a dense one; what answers otherwise is then refused.
    Raises ConversionError when none runs, or none that answers the samples answers the probes.
    """
    best: tuple[float, ConvertedModel] | None = None
    beyond = probes or Probes()
    refusals: list[ConversionError] = []
    for attempt in attempts:
        try:
            candidate = attempt()
            gap = _gap(candidate, samples)
            if gap <= default_tolerance(candidate) and UNLIKE * default_tolerance(candidate) < (
                far := probed_gap(candidate, beyond)[0]
            ):
                gap = max(gap, far)
        except ConversionError as refusal:
            refusals.append(refusal)
            continue
        if best is None or gap < best[0]:
            best = (gap, candidate)
        if gap <= default_tolerance(candidate):
            break
    if best is None:
        raise refusals[0]
    gap = _gap(best[1], samples)
    if gap <= default_tolerance(best[1]):
        refuse_unlike(best[1], beyond, UNLIKE * default_tolerance(best[1]), dense=dense)
    elif dense:
        raise sparse_refusal(dense)
    return best[1]


def _attempts(estimator: Estimator, samples: Samples, hints: ConversionHints) -> Iterator[Callable[[], ConvertedModel]]:
    """Our own exact graph first where the model's last step allows one, then skl2onnx's; what takes fractions before all else."""
    every = list(input_layouts(estimator, samples, hints))
    whole = [layout for layout in every if any(dtype == "int64" for _, dtype, _ in layout.tensors)]
    for forms in ([layout for layout in every if layout not in whole], whole):
        for layout in forms:
            if can_be_exact(estimator, layout):
                yield partial(_candidate, write_exact, estimator, layout, samples, hints)
        for layout in forms:
            yield partial(_candidate, write_onnx, estimator, layout, samples, hints)


def _candidate(
    write: Callable[[Estimator, Layout], ExportedGraph],
    estimator: Estimator,
    layout: Layout,
    samples: Samples,
    hints: ConversionHints,
) -> ConvertedModel:
    given = original_input(estimator, layout, samples)
    outputs = estimator.ask(given)
    written = write(estimator, layout)
    steps = _fed(layout.steps, written.inputs)
    return ConvertedModel(
        onnx=written.onnx,
        input=_needed(layout.input, steps, written.onnx),
        steps=steps,
        output=estimator.output(written.output, hints),
        framework=framework_of(estimator.final) or f"scikit-learn {version('scikit-learn')}",
        converter=written.libraries,
        # One column of two labels is the probability of the second: nothing is lost, and half is sent.
        outputs=outputs[:, 1:] if written.one_column else outputs,
        predicted=estimator.predicted(given),
        classes=estimator.classes,
        decision=estimator.decision,
    )


def _needed(wanted: Input, steps: Steps, data: bytes) -> Input:
    """The input, in which a column that no node reads is optional: the model drops it, so no caller need send it."""
    if not isinstance(wanted, RecordInput) or not isinstance(steps, ColumnSteps):
        return wanted
    read = inputs_read(data)
    fields = {column.field for column in steps.columns if column.input in read}
    return msgspec.structs.replace(
        wanted,
        fields=tuple(one if one.name in fields else msgspec.structs.replace(one, required=False) for one in wanted.fields),
    )


def _fed(steps: Steps, inputs: tuple[str, ...]) -> Steps:
    """The steps with the names that the graph gave its inputs; fields keep the names that people know."""
    if not isinstance(steps, ColumnSteps) or len(inputs) != len(steps.columns):
        return steps
    pairs = zip(steps.columns, inputs, strict=True)
    return ColumnSteps(columns=tuple(msgspec.structs.replace(column, input=name) for column, name in pairs))


def _gap(converted: ConvertedModel, samples: Samples) -> float:
    assert converted.outputs is not None  # noqa: S101 - every candidate has asked the original
    try:
        return float(difference(score_as_served(converted, samples), converted.outputs).max())
    except InvalidInputError:
        raise
    except RelevoError as cause:
        raise ConversionError(reason=f"the converted model does not run ({one_line(cause)})") from cause
