"""Messages between the parent and the sandbox workers: a length, a JSON header, then the raw bytes that it counts. No pickle.

    u32 length ‖ header {"kind": …, "bodies": [n, m, …], …} ‖ n bytes ‖ m bytes ‖ …

Both sides decode strictly. The parent limits the size of what it reads before it decodes anything.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from relevo.domain.decision import Decision  # noqa: TC001 - msgspec reads the types at run time
from relevo.domain.preprocessing import Steps  # noqa: TC001 - msgspec reads the types at run time
from relevo.domain.signature import Input, Output  # noqa: TC001 - msgspec reads the types at run time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_LENGTH = struct.Struct("<I")
MAX_HEADER = 16 * 2**20


class ProtocolError(Exception):
    """The bytes are not valid frames."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A header: unknown fields are rejected."""


class SandboxStatus(_Message, frozen=True, kw_only=True, tag_field="kind", tag="walls"):
    """The isolation level of the sandbox; sent before the file is opened."""

    level: Literal["strong", "partial", "none"]
    failed_checks: tuple[str, ...]  # forbidden operations that succeeded
    bodies: tuple[int, ...] = ()


class Signature(_Message, frozen=True, kw_only=True):
    """Input, preprocessing and output of a converted model."""

    input: Input
    steps: Steps
    output: Output


class ConvertedMessage(_Message, frozen=True, kw_only=True, tag_field="kind", tag="opened"):
    """A converted model. Bodies: ONNX, outputs as little-endian float64, samples."""

    input: Input
    steps: Steps
    output: Output
    framework: str
    converter: dict[str, str]
    outputs: tuple[int, int] | None  # rows, columns
    predicted: bool = False  # whether the last column is the index of the label that the original's own `predict` returned
    samples: Literal["user", "generated"]
    classes: tuple[str, ...] = ()  # the model's own class names, where they differ from the labels
    decision: Decision | None = None  # the model's own decision rule
    bodies: tuple[int, int, int]


class FailureMessage(_Message, frozen=True, kw_only=True, tag_field="kind", tag="stopped"):
    """The conversion failed; `code` is one of a fixed list, `reason` is untrusted text."""

    code: Literal[
        "conversion_failed",
        "options_missing",
        "extra_missing",
        "onnx_refused",
        "quarantine_failed",
        "import_refused",
        "labels_refused",
    ]
    reason: str
    bodies: tuple[int, ...] = ()


class LegacyOutputsMessage(_Message, frozen=True, kw_only=True, tag_field="kind", tag="answered"):
    """The original's outputs, computed with the libraries of its time.

    Bodies: outputs as little-endian float64, the generated records (JSON) where no samples were sent, the serialized model (JSON),
    and its arrays.
    """

    method: Literal["predict_proba", "decision_function", "predict"]
    classes: tuple[str, ...]
    outputs: tuple[int, int]  # rows, columns
    bodies: tuple[int, int, int, int]


Header = SandboxStatus | ConvertedMessage | FailureMessage | LegacyOutputsMessage


class LegacyRequest(_Message, frozen=True, kw_only=True):
    """A request to the legacy worker. Bodies: the file, a second file or nothing, then the samples."""

    samples: Literal["none", "records", "matrix"] = "none"
    names: tuple[str, ...] = ()  # of the samples' columns
    shape: tuple[int, ...] = ()  # of a matrix
    spell: bool = False  # whether to serialize the model too
    bodies: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One header with its bodies."""

    header: Any
    bodies: tuple[bytes, ...]


def pack(header: msgspec.Struct, bodies: Sequence[bytes] = ()) -> bytes:
    """Encode one frame; fills in the header's `bodies`."""
    header_with_sizes = msgspec.structs.replace(header, bodies=tuple(len(body) for body in bodies))
    encoded_header = msgspec.json.encode(header_with_sizes)
    return b"".join([_LENGTH.pack(len(encoded_header)), encoded_header, *bodies])


def frames(data: bytes, header_type: Any) -> Iterator[Frame]:
    """Decode frames whose headers are of type `kind`. Raises ProtocolError on anything else."""
    offset = 0
    while offset < len(data):
        header, offset = _decode_header(data, offset, header_type)
        bodies = []
        for size in header.bodies:
            if size < 0 or size > len(data) - offset:
                raise ProtocolError("it is cut off")
            bodies.append(data[offset : offset + size])
            offset += size
        yield Frame(header=header, bodies=tuple(bodies))


def _decode_header(data: bytes, offset: int, header_type: Any) -> tuple[Any, int]:
    if len(data) - offset < _LENGTH.size:
        raise ProtocolError("it is cut off")
    (length,) = _LENGTH.unpack_from(data, offset)
    start = offset + _LENGTH.size
    if length > MAX_HEADER or length > len(data) - start:
        raise ProtocolError("it is cut off or its header is too long")
    try:
        return msgspec.json.decode(data[start : start + length], type=header_type), start + length
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise ProtocolError("its header is not as agreed") from cause


def encode_matrix(array: NDArray[np.float64]) -> bytes:
    """Encode a matrix as little-endian float64, row by row."""
    return np.ascontiguousarray(array, dtype="<f8").tobytes()


def decode_matrix(data: bytes, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Decode the matrix into its own memory. Raises ProtocolError when the size differs."""
    rows, columns = shape
    if rows < 0 or columns < 0 or rows * columns * 8 != len(data):
        raise ProtocolError("an array has another size than agreed")
    return np.frombuffer(data, dtype="<f8").reshape(shape).astype(np.float64)
