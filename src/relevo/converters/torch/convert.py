"""PyTorch models to ONNX: a live module, an exported program (`.pt2`), TorchScript where torch still writes it.

    live module ─ eval ──────────┐            ┌─ torch.onnx ─► ONNX, batch axis free ─ what it leaves open ─► Input, Steps, Output
    .pt2 · TorchScript ─ loaded ─┴─ example ──┤
                                              └─ samples as serving makes them ─► the module's own answers ─► Converted

A .pt2 is no plain data: its loader evaluates expressions and unpickles tensors, so it is opened like a pickle. A state_dict has
numbers and no model; nothing can be made of it here.
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
#: Two rows: with one, torch would take the batch for a constant.
_EXAMPLE_ROWS = 2
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class InputBinding:
    """How a module is fed; lives as long as one conversion."""

    input: Input
    steps: ImageSteps | MatrixSteps


def convert_torch(model: Any, samples: Samples, hints: ConversionHints | None = None) -> ConvertedModel:
    """A live module (or exported program) as ONNX, with the outputs it gave for the samples in eval mode.

    Raises MissingDependencyError, InvalidOptionsError naming what only a person can tell, ConversionError.
    """
    told = hints or ConversionHints()
    torch = library()
    feed = _feed(samples, told)
    module = model.module() if hasattr(model, "graph_module") and not hasattr(model, "eval") else model
    with _answering(module):
        onnx = _exported(model, _tensors(feed, samples, _dtype(module))[:_EXAMPLE_ROWS])
        return _asked(module, onnx, samples, replace(told, input=feed.input, steps=feed.steps), f"PyTorch {torch.__version__}")


def open_file(task: ConversionOptions, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """Convert an exported program or TorchScript. Raises ConversionError, InvalidOptionsError, MissingDependencyError."""
    torch = library()
    framework = f"PyTorch {torch.__version__}"
    # Where torch would look for a place to write, trying to; nothing can be written here.
    tempfile.tempdir = str(Path.cwd())
    with silence():
        if task.format == "torchscript":
            return _script(torch, task, bodies[0], samples)
        try:
            program = torch.export.load(io.BytesIO(bodies[0]))
        except Exception as cause:
            raise ConversionError(
                reason=f"the torch {torch.__version__} installed here cannot load the program ({one_line(cause)}); "
                "export it again with torch.export.save of a newer release"
            ) from cause
        onnx = _exported(program, None)
        hints = hints_for_onnx(onnx, task, samples)
        given = samples if samples is not None else generate_samples(hints.input or convert_onnx(onnx, None, hints).input)
        converted = _asked(program.module(), onnx, given, hints, framework, generated=samples is None)
        return ConversionResult(converted=converted, samples=given, generated=samples is None)


def _script(torch: Any, task: ConversionOptions, data: bytes, samples: Samples | None) -> ConversionResult:
    module = torch.jit.load(io.BytesIO(data), map_location="cpu")
    hints = _hints_for_script(task, samples)
    given = samples if samples is not None else generate_samples(_known(hints.input))
    feed = _feed(given, hints)
    with _answering(module):
        onnx = _exported(module, _tensors(feed, given, _dtype(module))[:_EXAMPLE_ROWS], script=True)
        told = replace(hints, input=feed.input, steps=feed.steps)
        framework = f"TorchScript, PyTorch {torch.__version__}"
        converted = _asked(module, onnx, given, told, framework, generated=samples is None)
    return ConversionResult(converted=converted, samples=given, generated=samples is None)


def _hints_for_script(task: ConversionOptions, samples: Samples | None) -> ConversionHints:
    """TorchScript does not tell the shape of its input; a person must. Raises InvalidOptionsError."""
    hints = ConversionHints(
        labels=task.labels,
        renamed=task.renamed,
        features=task.features,
        unit=task.unit,
        scores=task.scores,
        orientation=task.orientation,
        background=task.background,
    )
    if isinstance(samples, RecordSamples) or task.kind == "record":
        if samples is None:
            raise InvalidOptionsError(options="--samples, since TorchScript does not tell the shape of its input")
        return hints
    size = task.size or (samples.shape(task.orientation)[1::-1] if isinstance(samples, ImageSamples) else None)
    asked = [] if size else ["--kind record and --samples, or --kind image and --size WIDTHxHEIGHT"]
    asked += [] if task.mode or samples else ["--mode L or --mode RGB"]
    asked += [] if "scale" in task.told else ["--scale (0.00392156862745098 when it was trained on pixels of 0..1)"]
    if asked or not size:
        raise InvalidOptionsError(options="; ".join(asked))
    grey = task.mode == "L" or (not task.mode and isinstance(samples, ImageSamples) and len(samples.shape()) == 2)
    wanted = ImageInput(width=size[0], height=size[1], mode="L" if grey else "RGB")
    steps = ImageSteps(
        input=_INPUT,
        scale=task.scale,
        mean=task.mean,
        std=task.std,
        channels="BGR" if task.mode == "BGR" else "RGB",
        layout=task.layout or "NCHW",
    )
    return replace(hints, input=wanted, steps=steps, scale=task.scale)


def _known(wanted: Input | None) -> Input:
    assert wanted is not None  # noqa: S101 - without samples it was asked for
    return wanted


# --- in and out ---------------------------------------------------------------------------------------------------------


def _feed(samples: Samples, hints: ConversionHints) -> InputBinding:
    """Pictures as (n, c, h, w), records as rows of numbers, unless steps say otherwise. Raises InvalidOptionsError."""
    if isinstance(samples, ImageSamples):
        height, width, *colours = samples.shape(hints.orientation)
        wanted = hints.input or ImageInput(width=width, height=height, mode="RGB" if colours else "L")
        if not isinstance(hints.steps, ImageSteps) and hints.scale is None:
            raise InvalidOptionsError(options="scale= (1/255 when it was trained on pixels of 0..1, 1 when on 0..255), or steps=")
        scale = 1.0 if hints.scale is None else hints.scale
        steps = hints.picture(
            hints.steps if isinstance(hints.steps, ImageSteps) else ImageSteps(input=_INPUT, scale=scale, layout="NCHW")
        )
        return InputBinding(input=wanted, steps=msgspec.structs.replace(steps, input=_INPUT))
    if isinstance(hints.input, RecordInput) and isinstance(hints.steps, MatrixSteps):
        return InputBinding(input=hints.input, steps=msgspec.structs.replace(hints.steps, input=_INPUT))
    names = hints.features or samples.names
    record = hints.input
    if not isinstance(record, RecordInput):
        record = RecordInput(fields=tuple(fractional(field) for field in infer_fields(samples, names)))
    columns = tuple(Column(field=field.name) for field in record.fields)
    return InputBinding(input=record, steps=MatrixSteps(input=_INPUT, columns=columns, missing="nan"))


def _tensors(feed: InputBinding, samples: Samples, dtype: str) -> NDArray[Any]:
    """A few samples as serving makes them, at least two rows: the example that torch follows through the module."""
    first = range(min(len(samples), _EXAMPLE_ROWS))
    rows: NDArray[Any]
    if isinstance(feed.steps, ImageSteps):
        assert isinstance(feed.input, ImageInput)  # noqa: S101 - pictures have image steps
        ready = ready_pixels(samples, feed.input)
        pixels = [ready[row] if ready else decode(_file(samples.payload(row)), feed.input, feed.steps, OWN_FILES) for row in first]
        rows = tensor(pixels, feed.steps)
    else:
        assert isinstance(feed.input, RecordInput)  # noqa: S101 - records have matrix steps
        encoder = RecordEncoder(feed.input, feed.steps)
        checked = [encoder.check(_present(samples.payload(row))) for row in first]
        rows = encoder.stack(checked)[_INPUT]
    return np.asarray(np.concatenate([rows, rows]) if len(rows) < _EXAMPLE_ROWS else rows, dtype=dtype)


def _file(payload: bytes | dict[str, Any]) -> bytes:
    if isinstance(payload, dict):
        raise ConversionError(reason="the model takes pictures, and the samples are records")
    return payload


def _present(payload: bytes | dict[str, Any]) -> dict[str, Any]:
    if isinstance(payload, bytes):
        raise ConversionError(reason="the model takes records, and the samples are pictures")
    return {name: value for name, value in payload.items() if value is not None}


def _dtype(module: Any) -> str:
    """The type of the module's own numbers; it takes no other."""
    found = next((one.dtype for one in module.parameters() if one.is_floating_point()), None)
    return str(found).rpartition(".")[2] if found is not None else "float32"


def _asked(
    module: Any, onnx: bytes, samples: Samples, hints: ConversionHints, framework: str, *, generated: bool = False
) -> ConvertedModel:
    """The graph with its signature and the module's own answers. Raises ConversionError, InvalidOptionsError."""
    converted = convert_onnx(onnx, samples, hints, generated=generated)
    model = build_runnable(converted)
    (rows,) = model.feeds(preprocess_samples(model, samples)).values()
    outputs = _answers(module, rows)
    libraries = {"torch": version("torch"), "onnxscript": version("onnxscript")}
    classes = hints.classes or tuple(str(place) for place in range(len(converted.output.labels)))
    return replace(converted, outputs=outputs, framework=framework, converter=libraries, classes=classes)


def _answers(module: Any, rows: NDArray[Any]) -> NDArray[np.float64]:
    """What the module says to tensors as serving makes them, float64 (n, columns). Raises ConversionError with its complaint."""
    torch = library()
    parts = []
    try:
        with torch.no_grad():
            for start in range(0, len(rows), _BATCH):
                found = module(torch.from_numpy(np.ascontiguousarray(rows[start : start + _BATCH], dtype=_dtype(module))))
                parts.append(_only(found).detach().to("cpu").numpy().astype(np.float64))
    except (ConversionError, MemoryError):
        raise
    except Exception as cause:
        raise ConversionError(reason=f"the module itself fails on the samples ({one_line(cause)})") from cause
    return np.concatenate([part.reshape(len(part), -1) for part in parts])


def _only(found: Any) -> Any:
    """The one tensor of scores. Raises ConversionError when there are several."""
    values = list(found.values()) if isinstance(found, dict) else list(found) if isinstance(found, tuple | list) else [found]
    if len(values) != 1:
        raise ConversionError(reason=f"it gives {len(values)} outputs; wrap it in a module whose forward returns only the scores")
    return values[0]


# --- torch --------------------------------------------------------------------------------------------------------------


def _exported(model: Any, example: NDArray[Any] | None, *, script: bool = False) -> bytes:
    """The graph over a free batch axis, without the traces of the machine that made it. Raises ConversionError."""
    torch = library()
    try:
        with silence():
            if script:
                proto = _by_script(torch, model, torch.from_numpy(example))
            elif example is None or hasattr(model, "graph_module"):
                _refuse_fixed_batch(model)
                proto = torch.onnx.export(model, dynamo=True, verbose=False).model_proto
            else:
                given = (torch.from_numpy(example),)
                axes = ({0: torch.export.Dim.DYNAMIC},)
                proto = torch.onnx.export(model, given, dynamo=True, verbose=False, dynamic_shapes=axes).model_proto
    except (ConversionError, MemoryError):
        raise
    except Exception as cause:
        raise ConversionError(reason=f"torch cannot write it as ONNX ({one_line(cause)})") from cause
    return _cleaned(proto)


def _by_script(torch: Any, module: Any, example: Any) -> Any:
    """The older exporter, the only one that reads TorchScript."""
    import onnx

    out = io.BytesIO()
    names = {"input_names": [_INPUT], "output_names": [_OUTPUT], "dynamic_axes": {_INPUT: {0: "n"}, _OUTPUT: {0: "n"}}}
    torch.onnx.export(module, (example,), out, dynamo=False, opset_version=17, **names)
    return onnx.load_from_string(out.getvalue())


def _refuse_fixed_batch(program: Any) -> None:
    """An export remembers how many rows its example had, unless it was told that the number is free."""
    nodes = {node.name: node for node in program.graph_module.graph.nodes}
    shapes = [tuple(nodes[name].meta["val"].shape) for name in program.graph_signature.user_inputs if name in nodes]
    if shapes and shapes[0] and isinstance(shapes[0][0], int):
        raise ConversionError(
            reason=f"it was exported for exactly {shapes[0][0]} row(s); export it again with "
            "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)"
        )


def _cleaned(proto: Any) -> bytes:
    """Without source lines, paths and versions of the exporter, and with names of our own counting: one model, one digest."""
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
def _answering(module: Any) -> Iterator[None]:
    """Eval mode for a while: dropout off, batch norm as learned; given back as it was."""
    training = bool(getattr(module, "training", False))
    if training:
        module.eval()
    try:
        yield
    finally:
        if training:
            module.train()
