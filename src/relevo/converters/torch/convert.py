"""Converts PyTorch models to ONNX: a live module, an exported program (`.pt2`), or TorchScript where torch still supports it.

    live module ─ eval mode ──────┐            ┌─ torch.onnx ─► ONNX, free batch axis ─ options ─► Input, Steps, Output
    .pt2 · TorchScript ─ loaded ──┴─ example ──┤
                                               └─ samples as in serving ─► reference outputs ─► ConvertedModel

A .pt2 is not plain data: its loader evaluates expressions and unpickles tensors, so it needs the same trust as a pickle. A state_dict
contains weights but no model, so it cannot be converted.
"""

from __future__ import annotations

import io
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.base import ConversionResult
from relevo.converters.onnx_graph import deterministic_bytes
from relevo.converters.onnx_model import convert_onnx
from relevo.converters.onnx_options import hints_for_onnx
from relevo.converters.sklearn.estimator import one_line
from relevo.converters.torch.silent_import import library, silence
from relevo.domain.preprocessing import Column, ImageSteps, MatrixSteps
from relevo.domain.signature import ImageInput, Input, RecordInput
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.package.conversion import ConversionHints, ConvertedModel
from relevo.package.parity import build_runnable, preprocess_samples
from relevo.package.samples import ImageSamples, RecordSamples, ready_pixels
from relevo.package.schema_inference import fractional, infer_fields
from relevo.package.synthetic_samples import generate_samples
from relevo.runtime.image import OWN_FILES, decode, tensor
from relevo.runtime.record_encoder import RecordEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples

_INPUT, _OUTPUT = "input", "scores"
#: Two rows: with one, torch would treat the batch size as constant.
_EXAMPLE_ROWS = 2
_BATCH_ROWS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class InputBinding:
    """How a module is fed. Lifetime: one conversion."""

    input: Input
    steps: ImageSteps | MatrixSteps


def convert_torch(model: Any, samples: Samples, hints: ConversionHints | None = None) -> ConvertedModel:
    """Converts a live module (or exported program) to ONNX, with its outputs for the samples in eval mode.

    Raises MissingDependencyError, InvalidOptionsError naming the missing options, ConversionError.
    """
    options = hints or ConversionHints()
    torch = library()
    binding = _bind_input(samples, options)
    module = model.module() if hasattr(model, "graph_module") and not hasattr(model, "eval") else model
    with _eval_mode(module):
        onnx = _export(model, _example(binding, samples, _dtype(module))[:_EXAMPLE_ROWS])
        return _with_reference(
            module, onnx, samples, replace(options, input=binding.input, steps=binding.steps), f"PyTorch {torch.__version__}"
        )


def open_file(options: ConversionOptions, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """Converts an exported program or TorchScript. Raises ConversionError, InvalidOptionsError, MissingDependencyError."""
    torch = library()
    framework = f"PyTorch {torch.__version__}"
    # Torch would search for a writable temporary directory; the sandbox has none.
    tempfile.tempdir = str(Path.cwd())
    with silence():
        if options.format == "torchscript":
            return _convert_script(torch, options, bodies[0], samples)
        try:
            program = torch.export.load(io.BytesIO(bodies[0]))
        except Exception as cause:
            raise ConversionError(
                reason=f"the torch {torch.__version__} installed here cannot load the program ({one_line(cause)}); "
                "export it again with torch.export.save of a newer release"
            ) from cause
        onnx = _export(program, None)
        hints = hints_for_onnx(onnx, options, samples)
        used_samples = samples if samples is not None else generate_samples(hints.input or convert_onnx(onnx, None, hints).input)
        converted = _with_reference(program.module(), onnx, used_samples, hints, framework, generated=samples is None)
        return ConversionResult(converted=converted, samples=used_samples, generated=samples is None)


def _convert_script(torch: Any, options: ConversionOptions, data: bytes, samples: Samples | None) -> ConversionResult:
    module = torch.jit.load(io.BytesIO(data), map_location="cpu")
    hints = _hints_for_script(options, samples)
    used_samples = samples if samples is not None else generate_samples(_require_input(hints.input))
    binding = _bind_input(used_samples, hints)
    with _eval_mode(module):
        onnx = _export(module, _example(binding, used_samples, _dtype(module))[:_EXAMPLE_ROWS], script=True)
        bound_hints = replace(hints, input=binding.input, steps=binding.steps)
        framework = f"TorchScript, PyTorch {torch.__version__}"
        converted = _with_reference(module, onnx, used_samples, bound_hints, framework, generated=samples is None)
    return ConversionResult(converted=converted, samples=used_samples, generated=samples is None)


def _hints_for_script(options: ConversionOptions, samples: Samples | None) -> ConversionHints:
    """Requires the input shape as options: TorchScript does not contain it. Raises InvalidOptionsError."""
    hints = ConversionHints(
        labels=options.labels,
        renamed=options.renamed,
        features=options.features,
        unit=options.unit,
        scores=options.scores,
        orientation=options.orientation,
        background=options.background,
    )
    if isinstance(samples, RecordSamples) or options.kind == "record":
        if samples is None:
            raise InvalidOptionsError(options="--samples, since TorchScript does not tell the shape of its input")
        return hints
    size = options.size or (samples.shape(options.orientation)[1::-1] if isinstance(samples, ImageSamples) else None)
    missing = [] if size else ["--kind record and --samples, or --kind image and --size WIDTHxHEIGHT"]
    missing += [] if options.mode or samples else ["--mode L or --mode RGB"]
    missing += [] if "scale" in options.told else ["--scale (0.00392156862745098 when it was trained on pixels of 0..1)"]
    if missing or not size:
        raise InvalidOptionsError(options="; ".join(missing))
    is_grey = options.mode == "L" or (not options.mode and isinstance(samples, ImageSamples) and len(samples.shape()) == 2)
    image = ImageInput(width=size[0], height=size[1], mode="L" if is_grey else "RGB")
    steps = ImageSteps(
        input=_INPUT,
        scale=options.scale,
        mean=options.mean,
        std=options.std,
        channels="BGR" if options.mode == "BGR" else "RGB",
        layout=options.layout or "NCHW",
    )
    return replace(hints, input=image, steps=steps, scale=options.scale)


def _require_input(model_input: Input | None) -> Input:
    assert model_input is not None  # noqa: S101 - required when there are no samples
    return model_input


# --- in and out ---------------------------------------------------------------------------------------------------------


def _bind_input(samples: Samples, hints: ConversionHints) -> InputBinding:
    """Images as (n, c, h, w), records as rows of numbers, unless steps are given. Raises InvalidOptionsError."""
    if isinstance(samples, ImageSamples):
        height, width, *channel_axis = samples.shape(hints.orientation)
        image = hints.input or ImageInput(width=width, height=height, mode="RGB" if channel_axis else "L")
        if not isinstance(hints.steps, ImageSteps) and hints.scale is None:
            raise InvalidOptionsError(options="scale= (1/255 when it was trained on pixels of 0..1, 1 when on 0..255), or steps=")
        scale = 1.0 if hints.scale is None else hints.scale
        steps = hints.picture(
            hints.steps if isinstance(hints.steps, ImageSteps) else ImageSteps(input=_INPUT, scale=scale, layout="NCHW")
        )
        return InputBinding(input=image, steps=msgspec.structs.replace(steps, input=_INPUT))
    if isinstance(hints.input, RecordInput) and isinstance(hints.steps, MatrixSteps):
        return InputBinding(input=hints.input, steps=msgspec.structs.replace(hints.steps, input=_INPUT))
    names = hints.features or samples.names
    record = hints.input
    if not isinstance(record, RecordInput):
        record = RecordInput(fields=tuple(fractional(field) for field in infer_fields(samples, names)))
    columns = tuple(Column(field=field.name) for field in record.fields)
    return InputBinding(input=record, steps=MatrixSteps(input=_INPUT, columns=columns, missing="nan"))


def _example(binding: InputBinding, samples: Samples, dtype: str) -> NDArray[Any]:
    """A few samples as in serving, at least two rows: the example with which torch traces the module."""
    indices = range(min(len(samples), _EXAMPLE_ROWS))
    rows: NDArray[Any]
    if isinstance(binding.steps, ImageSteps):
        assert isinstance(binding.input, ImageInput)  # noqa: S101 - images have image steps
        ready = ready_pixels(samples, binding.input)
        pixels = [
            ready[row] if ready else decode(_image_bytes(samples.payload(row)), binding.input, binding.steps, OWN_FILES)
            for row in indices
        ]
        rows = tensor(pixels, binding.steps)
    else:
        assert isinstance(binding.input, RecordInput)  # noqa: S101 - records have matrix steps
        encoder = RecordEncoder(binding.input, binding.steps)
        records = [encoder.check(_record(samples.payload(row))) for row in indices]
        rows = encoder.stack(records)[_INPUT]
    return np.asarray(np.concatenate([rows, rows]) if len(rows) < _EXAMPLE_ROWS else rows, dtype=dtype)


def _image_bytes(payload: bytes | dict[str, Any]) -> bytes:
    if isinstance(payload, dict):
        raise ConversionError(reason="the model takes pictures, and the samples are records")
    return payload


def _record(payload: bytes | dict[str, Any]) -> dict[str, Any]:
    if isinstance(payload, bytes):
        raise ConversionError(reason="the model takes records, and the samples are pictures")
    return {name: value for name, value in payload.items() if value is not None}


def _dtype(module: Any) -> str:
    """The dtype of the module's parameters; it accepts no other."""
    dtype = next((parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()), None)
    return str(dtype).rpartition(".")[2] if dtype is not None else "float32"


def _with_reference(
    module: Any, onnx: bytes, samples: Samples, hints: ConversionHints, framework: str, *, generated: bool = False
) -> ConvertedModel:
    """Returns the graph with its signature and the module's own outputs. Raises ConversionError, InvalidOptionsError."""
    converted = convert_onnx(onnx, samples, hints, generated=generated)
    model = build_runnable(converted)
    (rows,) = model.build_inputs(preprocess_samples(model, samples)).values()
    outputs = _reference_outputs(module, rows)
    libraries = {"torch": version("torch"), "onnxscript": version("onnxscript")}
    classes = hints.classes or tuple(str(index) for index in range(len(converted.output.labels)))
    return replace(converted, outputs=outputs, framework=framework, converter=libraries, classes=classes)


def _reference_outputs(module: Any, rows: NDArray[Any]) -> NDArray[np.float64]:
    """The module's outputs for tensors as in serving, float64 (n, columns). Raises ConversionError with the module's error message."""
    torch = library()
    parts = []
    try:
        with torch.no_grad():
            for start in range(0, len(rows), _BATCH_ROWS):
                outputs = module(torch.from_numpy(np.ascontiguousarray(rows[start : start + _BATCH_ROWS], dtype=_dtype(module))))
                parts.append(_single_output(outputs).detach().to("cpu").numpy().astype(np.float64))
    except (ConversionError, MemoryError):
        raise
    except Exception as cause:
        raise ConversionError(reason=f"the module itself fails on the samples ({one_line(cause)})") from cause
    return np.concatenate([part.reshape(len(part), -1) for part in parts])


def _single_output(outputs: Any) -> Any:
    """Returns the only tensor of scores. Raises ConversionError when there are several."""
    values = (
        list(outputs.values()) if isinstance(outputs, dict) else list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    )
    if len(values) != 1:
        raise ConversionError(reason=f"it gives {len(values)} outputs; wrap it in a module whose forward returns only the scores")
    return values[0]


# --- torch --------------------------------------------------------------------------------------------------------------


def _export(model: Any, example: NDArray[Any] | None, *, script: bool = False) -> bytes:
    """Exports the graph with a free batch axis and without traces of the machine. Raises ConversionError."""
    torch = library()
    try:
        with silence():
            if script:
                proto = _export_script(torch, model, torch.from_numpy(example))
            elif example is None or hasattr(model, "graph_module"):
                _refuse_fixed_batch(model)
                proto = torch.onnx.export(model, dynamo=True, verbose=False).model_proto
            else:
                arguments = (torch.from_numpy(example),)
                axes = ({0: torch.export.Dim.DYNAMIC},)
                proto = torch.onnx.export(model, arguments, dynamo=True, verbose=False, dynamic_shapes=axes).model_proto
    except (ConversionError, MemoryError):
        raise
    except Exception as cause:
        raise ConversionError(reason=f"torch cannot write it as ONNX ({one_line(cause)})") from cause
    return _remove_metadata(proto)


def _export_script(torch: Any, module: Any, example: Any) -> Any:
    """Uses the older exporter, the only one that supports TorchScript."""
    import onnx

    out = io.BytesIO()
    names = {"input_names": [_INPUT], "output_names": [_OUTPUT], "dynamic_axes": {_INPUT: {0: "n"}, _OUTPUT: {0: "n"}}}
    torch.onnx.export(module, (example,), out, dynamo=False, opset_version=17, **names)
    return onnx.load_from_string(out.getvalue())


def _refuse_fixed_batch(program: Any) -> None:
    """Rejects an export that fixed its batch size to that of its example. Raises ConversionError."""
    nodes = {node.name: node for node in program.graph_module.graph.nodes}
    shapes = [tuple(nodes[name].meta["val"].shape) for name in program.graph_signature.user_inputs if name in nodes]
    if shapes and shapes[0] and isinstance(shapes[0][0], int):
        raise ConversionError(
            reason=f"it was exported for exactly {shapes[0][0]} row(s); export it again with "
            "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)"
        )


def _remove_metadata(proto: Any) -> bytes:
    """Removes source lines, paths and exporter metadata, and renames all tensors: one model, one digest."""
    graph = proto.graph
    for holder in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *proto.functions):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        first = value.type.tensor_type.shape.dim
        if first and first[0].dim_param:
            first[0].dim_param = "n"
    return deterministic_bytes(proto)


@contextmanager
def _eval_mode(module: Any) -> Iterator[None]:
    """Sets eval mode temporarily: no dropout, batch norm as learned; restores the previous mode."""
    training = bool(getattr(module, "training", False))
    if training:
        module.eval()
    try:
        yield
    finally:
        if training:
            module.train()
