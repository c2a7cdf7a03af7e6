"""How parent and quarantined child talk: a length, a JSON header, then the raw bytes that the header counts. Never pickle.

    u32 length ‖ header {"kind": …, "bodies": [n, m, …], …} ‖ n bytes ‖ m bytes ‖ …

Both ends decode strictly; the parent bounds what it reads before it believes a word of it.
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
    """The bytes are no frames of ours."""


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A header: exact fields, nothing beside them."""


class SandboxStatus(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="walls"):
    """How strong the quarantine is; sent before the file is opened."""

    level: Literal["strong", "partial", "none"]
    unheld: tuple[str, ...]  # forbidden acts that were possible
    bodies: tuple[int, ...] = ()


class Signature(_Strict, frozen=True, kw_only=True):
    """How a converted model is fed and read."""

    input: Input
    steps: Steps
    output: Output


class ConvertedMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="opened"):
    """A converted model. Bodies: ONNX, outputs as little-endian float64, samples."""

    input: Input
    steps: Steps
    output: Output
    framework: str
    converter: dict[str, str]
    outputs: tuple[int, int] | None  # rows, columns
    predicted: bool = False  # whether the last column is the place of the label that the original's own `predict` answered
    samples: Literal["user", "generated"]
    classes: tuple[str, ...] = ()  # what the model itself calls them, where that differs from the labels
    decision: Decision | None = None  # the model's own rule
    bodies: tuple[int, int, int]


class FailureMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="stopped"):
    """The child could not do it; `code` is one of a short list, the rest is its own words."""

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


class LegacyOutputsMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="answered"):
    """The original's own answers, given in an environment of its time.

    Bodies: outputs as little-endian float64, the records it made (JSON) where it was given none, the model spelled out (JSON),
    and the spelling's arrays.
    """

    method: Literal["predict_proba", "decision_function", "predict"]
    classes: tuple[str, ...]
    outputs: tuple[int, int]  # rows, columns
    bodies: tuple[int, int, int, int]


Header = SandboxStatus | ConvertedMessage | FailureMessage | LegacyOutputsMessage


class LegacyRequest(_Strict, frozen=True, kw_only=True):
    """What the child of other times is asked. Bodies: the file, a second file or nothing, then the samples."""

    samples: Literal["none", "records", "matrix"] = "none"
    names: tuple[str, ...] = ()  # of the samples' columns
    shape: tuple[int, ...] = ()  # of a matrix
    spell: bool = False  # whether the model itself is wanted too, in plain words
    bodies: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One header with its bodies."""

    header: Any
    bodies: tuple[bytes, ...]


def pack(header: msgspec.Struct, bodies: Sequence[bytes] = ()) -> bytes:
    """One frame; fills in the header's `bodies`."""
    counted = msgspec.structs.replace(header, bodies=tuple(len(body) for body in bodies))
    head = msgspec.json.encode(counted)
    return b"".join([_LENGTH.pack(len(head)), head, *bodies])


def frames(data: bytes, kind: Any) -> Iterator[Frame]:
    """The frames in some bytes, decoded as `kind`. Raises Broken on anything else."""
    at = 0
    while at < len(data):
        header, at = _header(data, at, kind)
        bodies = []
        for size in header.bodies:
            if size < 0 or size > len(data) - at:
                raise ProtocolError("it is cut off")
            bodies.append(data[at : at + size])
            at += size
        yield Frame(header=header, bodies=tuple(bodies))


def _header(data: bytes, at: int, kind: Any) -> tuple[Any, int]:
    if len(data) - at < _LENGTH.size:
        raise ProtocolError("it is cut off")
    (length,) = _LENGTH.unpack_from(data, at)
    start = at + _LENGTH.size
    if length > MAX_HEADER or length > len(data) - start:
        raise ProtocolError("it is cut off or its header is too long")
    try:
        return msgspec.json.decode(data[start : start + length], type=kind), start + length
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise ProtocolError("its header is not as agreed") from cause


def numbers_out(array: NDArray[np.float64]) -> bytes:
    """A matrix as bytes, little-endian float64, row by row."""
    return np.ascontiguousarray(array, dtype="<f8").tobytes()


def numbers_in(data: bytes, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The matrix again, its own memory. Raises Broken when the size differs."""
    rows, columns = shape
    if rows < 0 or columns < 0 or rows * columns * 8 != len(data):
        raise ProtocolError("an array has another size than agreed")
    return np.frombuffer(data, dtype="<f8").reshape(shape).astype(np.float64)
