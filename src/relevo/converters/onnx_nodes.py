"""Reads the nodes of an audited ONNX file without the `onnx` library, which is an optional dependency.

    bytes ─ protobuf fields ─► Graph(nodes by the tensor they produce, small constants, functions)

Only for bytes that passed `onnx_validation.audit`, which has checked the encoding; nothing is checked again here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import InvalidOnnxError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
#: A constant of more bytes is a weight: only its presence is recorded.
_MAX_CONSTANT_BYTES = 256
_RAW_DTYPES = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
_FIELD_DTYPES = {4: "<f4", 5: "<i4", 7: "<i8", 10: "<f8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator with the names of its inputs and outputs."""

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]  # numbers and texts; the array of a constant; None for anything larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph or function. Lifetime: one analysis of a file."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    makers: dict[str, Node] = field(default_factory=dict)  # by the name of the tensor they produce
    constants: dict[str, Any] = field(default_factory=dict)  # small ones as arrays, others None
    functions: dict[tuple[str, str], Graph] = field(default_factory=dict)  # by domain and name


def read_graph(onnx: bytes) -> Graph:
    """Reads the main graph and the functions of the file. Raises InvalidOnnxError when the bytes were not audited."""
    try:
        return _model(memoryview(onnx))
    except (IndexError, ValueError, UnicodeDecodeError) as cause:
        raise InvalidOnnxError(reason="it is damaged, cut off or no ONNX file") from cause


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Yields the number and value of each field: an integer, or the bytes of a message, text or fixed number."""
    offset, end = 0, len(data)
    while offset < end:
        key, offset = _varint(data, offset)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, offset = _varint(data, offset)
            yield number, value
            continue
        length = 8 if wire == _FIXED64 else 4
        if wire == _BYTES:
            length, offset = _varint(data, offset)
        elif wire not in (_FIXED64, _FIXED32):
            raise ValueError(wire)
        yield number, data[offset : offset + length]
        offset += length


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7


def _text(value: memoryview) -> str:
    return bytes(value).decode()


def _model(data: memoryview) -> Graph:
    fields = list(_fields(data))
    functions = dict(_function(value) for number, value in fields if number == 25)
    main = next(value for number, value in fields if number == 7)
    nodes: list[Node] = []
    inputs: list[str] = []
    outputs: list[str] = []
    constants: dict[str, Any] = {}
    for number, value in _fields(main):
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            name, array = _tensor(value)
            constants[name] = array
        elif number in (11, 12):
            name = next((_text(inner) for inner_number, inner in _fields(value) if inner_number == 1), "")
            (inputs if number == 11 else outputs).append(name)
    return _graph(inputs, outputs, nodes, constants, functions)


def _function(data: memoryview) -> tuple[tuple[str, str], Graph]:
    name = domain = ""
    nodes: list[Node] = []
    inputs: list[str] = []
    outputs: list[str] = []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 10:
            domain = _text(value)
        elif number == 7:
            nodes.append(_node(value))
        elif number in (4, 5):
            (inputs if number == 4 else outputs).append(_text(value))
    return (domain, name), _graph(inputs, outputs, nodes, {}, {})


def _graph(inputs: list[str], outputs: list[str], nodes: list[Node], constants: dict[str, Any], functions: Any) -> Graph:
    for node in nodes:
        if node.op == "Constant" and node.outputs:
            values = [node.attributes[name] for name in ("value", "value_float", "value_int") if name in node.attributes]
            constants[node.outputs[0]] = None if not values or values[0] is None else np.asarray(values[0])
    makers = {name: node for node in nodes if node.op != "Constant" for name in node.outputs if name}
    return Graph(inputs=tuple(inputs), outputs=tuple(outputs), makers=makers, constants=constants, functions=functions)


def _node(data: memoryview) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    op = domain = ""
    attributes: dict[str, Any] = {}
    for number, value in _fields(data):
        if number in (1, 2):
            (inputs if number == 1 else outputs).append(_text(value))
        elif number == 4:
            op = _text(value)
        elif number == 7:
            domain = _text(value)
        elif number == 5:
            name, attribute = _attribute(value)
            attributes[name] = attribute
    domain = "" if domain == "ai.onnx" else domain
    return Node(op=op, domain=domain, inputs=tuple(inputs), outputs=tuple(outputs), attributes=attributes)


def _attribute(data: memoryview) -> tuple[str, Any]:
    name = ""
    content: Any = None
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            content = float(np.frombuffer(value, "<f4")[0])
        elif number == 3:
            content = value if value < 2**63 else value - 2**64
        elif number == 4:
            content = bytes(value).decode("utf-8", "replace")
        elif number == 5:
            content = _tensor(value)[1]
    return name, content


def _tensor(data: memoryview) -> tuple[str, Any]:
    """Returns the name and the values of a small tensor as a flat array; None when it is larger or of another type."""
    name, element_type, raw, values = "", 0, None, None
    for number, value in _fields(data):
        if number == 8:
            name = _text(value)
        elif number == 2:
            element_type = value
        elif number == 9 and len(value) <= _MAX_CONSTANT_BYTES:
            raw = bytes(value)
        elif number in _FIELD_DTYPES:
            values = _typed(number, value)
    if raw is not None and element_type in _RAW_DTYPES:
        return name, np.frombuffer(raw, _RAW_DTYPES[element_type])
    return name, values


def _typed(number: int, value: Any) -> Any:
    if isinstance(value, int):
        return np.array([value if value < 2**63 else value - 2**64])
    if len(value) > _MAX_CONSTANT_BYTES:
        return None
    if number in (4, 10):
        return np.frombuffer(value, _FIELD_DTYPES[number])
    values, offset = [], 0
    while offset < len(value):
        number_, offset = _varint(value, offset)
        values.append(number_ if number_ < 2**63 else number_ - 2**64)
    return np.array(values)
