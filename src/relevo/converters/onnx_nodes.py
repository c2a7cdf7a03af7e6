"""The nodes of an audited ONNX file, read from its bytes: the `onnx` library is an extra, and a few names are all that is needed.

    bytes ─ fields ─► Graph(nodes by the tensor they make, small constants, functions)

Only for bytes that `onnx_audit` let pass: it has judged the encoding, and nothing is judged a second time here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import InvalidOnnxError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
#: A constant of more bytes is a weight, of which only the presence counts.
_SMALL = 256
_DTYPES = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
_DATA = {4: "<f4", 5: "<i4", 7: "<i8", 10: "<f8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator with the names it reads and makes."""

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]  # numbers and texts; of a constant its array; None for anything larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph or function; lives as long as one look at a file."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    makers: dict[str, Node] = field(default_factory=dict)  # by the name of what they make
    constants: dict[str, Any] = field(default_factory=dict)  # small ones as arrays, others None
    functions: dict[tuple[str, str], Graph] = field(default_factory=dict)  # by domain and name


def read_graph(onnx: bytes) -> Graph:
    """The main graph with the functions of the file. Raises InvalidOnnxError when the bytes are not as audited."""
    try:
        return _model(memoryview(onnx))
    except (IndexError, ValueError, UnicodeDecodeError) as cause:
        raise InvalidOnnxError(reason="it is damaged, cut off or no ONNX file") from cause


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an integer, or the bytes of a message, text or fixed number."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        length = 8 if wire == _FIXED64 else 4
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire not in (_FIXED64, _FIXED32):
            raise ValueError(wire)
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _text(value: memoryview) -> str:
    return bytes(value).decode()


def _model(data: memoryview) -> Graph:
    found = list(_fields(data))
    functions = dict(_function(value) for number, value in found if number == 25)
    main = next(value for number, value in found if number == 7)
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
            name = next((_text(inner) for field_, inner in _fields(value) if field_ == 1), "")
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
            name, told = _attribute(value)
            attributes[name] = told
    domain = "" if domain == "ai.onnx" else domain
    return Node(op=op, domain=domain, inputs=tuple(inputs), outputs=tuple(outputs), attributes=attributes)


def _attribute(data: memoryview) -> tuple[str, Any]:
    name = ""
    told: Any = None
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            told = float(np.frombuffer(value, "<f4")[0])
        elif number == 3:
            told = value if value < 2**63 else value - 2**64
        elif number == 4:
            told = bytes(value).decode("utf-8", "replace")
        elif number == 5:
            told = _tensor(value)[1]
    return name, told


def _tensor(data: memoryview) -> tuple[str, Any]:
    """Name, and the values of a small tensor as a flat array; None where it is large or of another kind."""
    name, kind, raw, typed = "", 0, None, None
    for number, value in _fields(data):
        if number == 8:
            name = _text(value)
        elif number == 2:
            kind = value
        elif number == 9 and len(value) <= _SMALL:
            raw = bytes(value)
        elif number in _DATA:
            typed = _typed(number, value)
    if raw is not None and kind in _DTYPES:
        return name, np.frombuffer(raw, _DTYPES[kind])
    return name, typed


def _typed(number: int, value: Any) -> Any:
    if isinstance(value, int):
        return np.array([value if value < 2**63 else value - 2**64])
    if len(value) > _SMALL:
        return None
    if number in (4, 10):
        return np.frombuffer(value, _DATA[number])
    values, at = [], 0
    while at < len(value):
        one, at = _varint(value, at)
        values.append(one if one < 2**63 else one - 2**64)
    return np.array(values)
