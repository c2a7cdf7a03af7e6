"""Converts a fitted scikit-learn model to ONNX: tries the possible exports in order, and takes the first that predicts as the original.

    model ─ inspect_estimator ─► task, classes     samples ─ layouts ─► double | single precision, matrix | columns | image
                 └── our exact graph | skl2onnx ────────┘ ─ serve the samples ─ compare ─► ConvertedModel

Linear models and trees are exported exactly by our own code; all others, and all preceding steps, by skl2onnx, in double precision
where possible. The result is only a candidate: `relevo.package.parity` decides.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.converters.boosting.booster import framework_of, has_original_outputs
from relevo.converters.onnx_graph import inputs_read
from relevo.converters.sklearn.estimator import inspect_estimator, one_line
from relevo.converters.sklearn.exact_export import can_be_exact, write_exact
from relevo.converters.sklearn.input_layouts import Layout, input_layouts, original_input
from relevo.converters.sklearn.probes import (
    Original,
    Probes,
    check_probes,
    closed_fields,
    make_probes,
    probe_difference,
    require_all_columns,
)
from relevo.converters.sklearn.skl2onnx_export import write_onnx
from relevo.converters.sklearn.sparse import reads_sparse, sparse_refusal
from relevo.domain.preprocessing import ColumnSteps
from relevo.domain.signature import RecordInput
from relevo.errors import ConversionError, InvalidInputError, RelevoError
from relevo.package.conversion import ConversionOptions, ConvertedModel
from relevo.package.parity import default_tolerance, difference, score_as_served
from relevo.package.samples import RecordSamples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from relevo.converters.onnx_graph import ExportedGraph
    from relevo.converters.sklearn.estimator import Estimator
    from relevo.domain.preprocessing import Steps
    from relevo.domain.signature import Input
    from relevo.package.samples import Samples

#: Factor on the tolerance for probes: far from the samples rounding errors are larger.
PROBE_TOLERANCE = 10
#: Option that makes a ColumnTransformer's matrix dense.
_DENSE = "ColumnTransformer(sparse_threshold=0)"
#: The same for a SciPy matrix, and how to make 0 always missing.
_DENSE_SAMPLES = "toarray(), or give samples without stored zeros, after eliminate_zeros()"


def convert_sklearn(model: Any, samples: Samples, options: ConversionOptions | None = None) -> ConvertedModel:
    """Converts the model to ONNX, with the original's outputs for the samples.

    Raises MissingDependencyError without skl2onnx, InvalidOptionsError when an option is missing, and ConversionError.
    """
    options = options or ConversionOptions()
    estimator = inspect_estimator(model)
    layout = next(iter(input_layouts(estimator, samples, options)))
    if isinstance(samples, RecordSamples):
        require_all_columns(estimator, samples)
    original_features = original_input(estimator, layout, samples)
    if estimator.classes:
        estimator = estimator.with_label_check(original_features)
    estimator = replace(estimator, reads_sparse=reads_sparse(estimator, original_features))
    options, probes = _probe_original(estimator, layout, samples, options)
    dense = _DENSE_SAMPLES if hasattr(original_features, "tocsr") else _DENSE
    converted = best_conversion(
        _attempts(estimator, samples, options), samples, probes, dense=dense if estimator.reads_sparse else ""
    )
    if estimator.has_label_column:
        check_label_column(converted, samples)
    return converted


def _probe_original(
    estimator: Estimator, layout: Layout, samples: Samples, options: ConversionOptions
) -> tuple[ConversionOptions, Probes]:
    """Probes the original with inputs that the samples lack; returns the options with closed fields, and its outputs for the probes."""
    if (
        not isinstance(samples, RecordSamples)
        or not isinstance(layout.input, RecordInput)
        or not (hasattr(estimator.original, "fit") or has_original_outputs(estimator.model))
    ):
        return options, Probes()
    original = Original(estimator=estimator, layout=layout, samples=samples)
    record = layout.input
    if options.input is None:
        record = closed_fields(original, record)
    return replace(options, input=record), make_probes(original.predict_scores, samples, record)


def check_label_column(converted: ConvertedModel, samples: Samples) -> None:
    """Checks that the label column equals the original's predictions. Raises ConversionError."""
    assert converted.outputs is not None  # noqa: S101 - every candidate has reference outputs
    mismatches = int((score_as_served(converted, samples)[:, -1] != converted.outputs[:, -1]).sum())
    if mismatches:
        raise ConversionError(
            reason=f"its predict answers other classes than its scores say, and the converted model another one at {mismatches} of "
            f"{len(samples)} samples"
        )


def best_conversion(
    attempts: Iterable[Callable[[], ConvertedModel]], samples: Samples, probes: Probes | None = None, *, dense: str = ""
) -> ConvertedModel:
    """Returns the first candidate within its tolerance on samples and probes, else the nearest.

    dense: where XGBoost reads a sparse matrix, the option that gives a dense one; candidates with other predictions are then rejected.
    Raises ConversionError when no candidate runs, or none that matches on the samples matches on the probes.
    """
    best: tuple[float, ConvertedModel] | None = None
    checked_probes = probes or Probes()
    refusals: list[ConversionError] = []
    for attempt in attempts:
        try:
            candidate = attempt()
            error = _difference(candidate, samples)
            if error <= default_tolerance(candidate) and PROBE_TOLERANCE * default_tolerance(candidate) < (
                probe_error := probe_difference(candidate, checked_probes)[0]
            ):
                error = max(error, probe_error)
        except ConversionError as refusal:
            refusals.append(refusal)
            continue
        if best is None or error < best[0]:
            best = (error, candidate)
        if error <= default_tolerance(candidate):
            break
    if best is None:
        raise refusals[0]
    error = _difference(best[1], samples)
    if error <= default_tolerance(best[1]):
        check_probes(best[1], checked_probes, PROBE_TOLERANCE * default_tolerance(best[1]), dense=dense)
    elif dense:
        raise sparse_refusal(dense)
    return best[1]


def _attempts(estimator: Estimator, samples: Samples, options: ConversionOptions) -> Iterator[Callable[[], ConvertedModel]]:
    """Yields our exact exports first, where the last step allows one, then skl2onnx's; layouts of floats before those with integers."""
    layouts = list(input_layouts(estimator, samples, options))
    integer_layouts = [layout for layout in layouts if any(dtype == "int64" for _, dtype, _ in layout.tensors)]
    for group in ([layout for layout in layouts if layout not in integer_layouts], integer_layouts):
        for layout in group:
            if can_be_exact(estimator, layout):
                yield partial(_candidate, write_exact, estimator, layout, samples, options)
        for layout in group:
            yield partial(_candidate, write_onnx, estimator, layout, samples, options)


def _candidate(
    write: Callable[[Estimator, Layout], ExportedGraph],
    estimator: Estimator,
    layout: Layout,
    samples: Samples,
    options: ConversionOptions,
) -> ConvertedModel:
    original_features = original_input(estimator, layout, samples)
    outputs = estimator.predict_scores(original_features)
    exported = write(estimator, layout)
    steps = _with_input_names(layout.steps, exported.inputs)
    return ConvertedModel(
        onnx=exported.onnx,
        input=_with_optional_fields(layout.input, steps, exported.onnx),
        steps=steps,
        output=estimator.output(exported.output, options),
        framework=framework_of(estimator.final) or f"scikit-learn {version('scikit-learn')}",
        converter=exported.libraries,
        # For two classes, one column with the probability of the second is sufficient.
        outputs=outputs[:, 1:] if exported.one_column else outputs,
        predicted=estimator.predict_labels(original_features),
        classes=estimator.classes,
        decision=estimator.decision,
    )


def _with_optional_fields(model_input: Input, steps: Steps, data: bytes) -> Input:
    """Makes a column optional that no node reads: the model drops it, so callers need not send it."""
    if not isinstance(model_input, RecordInput) or not isinstance(steps, ColumnSteps):
        return model_input
    used_inputs = inputs_read(data)
    used_fields = {column.field for column in steps.columns if column.input in used_inputs}
    return msgspec.structs.replace(
        model_input,
        fields=tuple(
            field if field.name in used_fields else msgspec.structs.replace(field, required=False) for field in model_input.fields
        ),
    )


def _with_input_names(steps: Steps, inputs: tuple[str, ...]) -> Steps:
    """Renames the columns' inputs to the graph's input names; fields keep their names."""
    if not isinstance(steps, ColumnSteps) or len(inputs) != len(steps.columns):
        return steps
    pairs = zip(steps.columns, inputs, strict=True)
    return ColumnSteps(columns=tuple(msgspec.structs.replace(column, input=name) for column, name in pairs))


def _difference(converted: ConvertedModel, samples: Samples) -> float:
    assert converted.outputs is not None  # noqa: S101 - every candidate has reference outputs
    try:
        return float(difference(score_as_served(converted, samples), converted.outputs).max())
    except InvalidInputError:
        raise
    except RelevoError as cause:
        raise ConversionError(reason=f"the converted model does not run ({one_line(cause)})") from cause
