"""Validates an untrusted ONNX file from its bytes, before any library parses it.

    bytes ─ fields ─► Model ─► Graph ─► Node ─► Attribute ─► Tensor      every message that can carry a tensor, graph or operator
                        ├──► Function ──┘           └──► Graph …          subgraphs, functions, training graphs: the same traversal
                        └──► training info

Rejects external data, operators outside the allow-lists, nodes that embed compiled code (EPContext), tensor shapes larger than the
file's data, and files beyond the limits of nodes, nesting or bytes.

The traversal has its own stack, so deep nesting cannot exhaust Python's. It also rejects encodings that the wire format allows but
no ONNX writer emits (groups, a repeated operator name), so that no other parser can interpret the same bytes differently. It does
not check that the model is *valid*: ONNX Runtime does that afterwards.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from relevo.errors import InvalidOnnxError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 2**31 - 1  # limit of a protobuf message
MAX_NODES = 100_000
MAX_DEPTH = 32  # graphs within graphs
MAX_FIELDS = 20_000_000  # protobuf fields that are parsed one by one; bounds the time
MAX_DENSE = 2**28  # elements of all sparse tensors together, in dense form

#: Allowed operator domains: those of the ONNX standard.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
#: Of ONNX Runtime's domain, only the operators that quantization and the usual graph optimizers write.
MICROSOFT = "com.microsoft"
MICROSOFT_OPERATORS = frozenset(
    {
        *("BiasGelu", "CDist", "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "FastGelu", "FusedConv"),
        *("FusedGemm", "FusedMatMul", "Gelu", "MatMulIntegerToFloat", "QGemm", "QLinearAdd", "QLinearAveragePool"),
        *("QLinearConcat", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax"),
        *("QuantizeLinear", "SkipLayerNormalization"),
    }
)

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_MAX_ELEMENTS_PER_BYTE = 4  # maximum elements per byte of tensor data (2-bit types)
# Runs of unpacked floats (field 7) and integers (field 8); tree models have millions. Skipped at C speed, without backtracking.
_FLOATS = re.compile(rb"(?:\x3d[\x00-\xff]{4})++")
_INTEGERS = re.compile(rb"(?:\x40[\x80-\xff]{0,9}+[\x00-\x7f])++")


class _Kind(Enum):
    """A protobuf message type of the ONNX schema that is validated."""

    MODEL = "model"
    GRAPH = "graph"
    NODE = "node"
    ATTRIBUTE = "attribute"
    TENSOR = "tensor"
    SPARSE = "sparse tensor"
    FUNCTION = "function"
    TRAINING = "training info"


#: Field numbers (onnx.proto) of nested messages.
_NESTED: dict[_Kind, dict[int, _Kind]] = {
    _Kind.MODEL: {7: _Kind.GRAPH, 20: _Kind.TRAINING, 25: _Kind.FUNCTION},
    _Kind.GRAPH: {1: _Kind.NODE, 5: _Kind.TENSOR, 15: _Kind.SPARSE},
    _Kind.NODE: {5: _Kind.ATTRIBUTE},
    _Kind.ATTRIBUTE: {
        5: _Kind.TENSOR,
        6: _Kind.GRAPH,
        10: _Kind.TENSOR,
        11: _Kind.GRAPH,
        22: _Kind.SPARSE,
        23: _Kind.SPARSE,
    },
    _Kind.TENSOR: {},
    _Kind.SPARSE: {1: _Kind.TENSOR, 2: _Kind.TENSOR},
    _Kind.FUNCTION: {7: _Kind.NODE, 11: _Kind.ATTRIBUTE},
    _Kind.TRAINING: {1: _Kind.GRAPH, 2: _Kind.GRAPH},
}
#: Field numbers (onnx.proto) of the values that are checked.
_NODE_OPERATOR, _NODE_DOMAIN = 4, 7
_FUNCTION_NAME, _FUNCTION_DOMAIN = 1, 10
_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14
_SPARSE_DIMS = 3
_FIRST_DATA_LOCATION = 0


def audit(onnx: bytes) -> None:
    """Validates the bytes of an ONNX file.

    Linear time, bounded by MAX_FIELDS; no recursion. Raises InvalidOnnxError with the first problem.
    """
    if not onnx:
        raise InvalidOnnxError(reason="it is empty")
    if len(onnx) > MAX_BYTES:
        raise InvalidOnnxError(reason=f"it has more than {MAX_BYTES} bytes")
    _Traversal(data=onnx).run()


@dataclass(slots=True, kw_only=True)
class _Traversal:
    """Traversal of one file. Lifetime: the call of `audit`."""

    data: bytes
    pending: list[tuple[_Kind, int, int, int, int]] = field(default_factory=list)  # kind, start, end, depth, function
    used: set[tuple[str, str]] = field(default_factory=set)  # operators outside the allow-lists; must be functions of the model
    defined: set[tuple[str, str]] = field(default_factory=set)
    #: By function (its start offset; 0 for the main graph): its operators with their counts, and its name.
    calls: dict[int, Counter[tuple[str, str]]] = field(default_factory=dict)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)
    function: int = 0  # function of the current message
    nodes: int = 0
    fields: int = 0
    graphs: int = 0
    dense: int = 0

    def run(self) -> None:
        """Validates every message on the stack, then checks what needs the whole file."""
        self.pending.append((_Kind.MODEL, 0, len(self.data), 0, 0))
        while self.pending:
            self._message(*self.pending.pop())
        if not self.graphs:
            raise InvalidOnnxError(reason="it holds no graph")
        for domain, operator in sorted(self.used - self.defined):
            raise InvalidOnnxError(
                reason=f"it uses the operator {_quoted(operator)} of {_quoted(domain)}, which is not on the list"
            )
        self._check_inlined_size()

    def _check_inlined_size(self) -> None:
        """Limits the nodes after function inlining, which grow exponentially with the depth of function calls."""
        sizes: dict[tuple[str, str], int] = {}
        remaining, defined = dict(self.names), set(self.names.values())
        while remaining:
            ready = [start for start in remaining if all(name in sizes or name not in defined for name in self._calls_of(start))]
            if not ready:
                raise InvalidOnnxError(reason="its functions call each other in a circle")
            for start in ready:
                sizes[remaining.pop(start)] = self._inlined_nodes(start, sizes)
        if self._inlined_nodes(0, sizes) > MAX_NODES:
            raise InvalidOnnxError(reason=f"its functions unfold to more than {MAX_NODES} nodes")

    def _calls_of(self, start: int) -> Counter[tuple[str, str]]:
        return self.calls.get(start, Counter())

    def _inlined_nodes(self, start: int, sizes: dict[tuple[str, str], int]) -> int:
        """Number of nodes of a function, or of the model, after inlining."""
        total = sum(count * sizes.get(name, 1) for name, count in self._calls_of(start).items())
        return min(total + 1, MAX_NODES + 1)  # capped, so that the number itself stays small

    def _message(self, kind: _Kind, start: int, end: int, depth: int, function: int) -> None:
        """Validates one message and pushes its nested messages on the stack."""
        self.function = function = start if kind is _Kind.FUNCTION else function
        if kind is _Kind.GRAPH:
            self.graphs += 1
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidOnnxError(reason=f"graphs are nested more than {MAX_DEPTH} deep")
        nested = _NESTED[kind]
        values: dict[int, list[tuple[int, int, int]]] = {}
        for number, wire, value, stop in self._fields(start, end, runs=kind is _Kind.ATTRIBUTE):
            if number in nested:
                if wire != _BYTES:
                    raise InvalidOnnxError(reason=f"a {nested[number].value} is not encoded as a message")
                self.pending.append((nested[number], value, stop, depth, function))
            elif number in _CHECKED_FIELDS.get(kind, ()):
                values.setdefault(number, []).append((wire, value, stop))
        if kind in _CHECKS:
            _CHECKS[kind](self, values, end - start)

    def _fields(self, start: int, end: int, *, runs: bool) -> Iterator[tuple[int, int, int, int]]:
        """Field number, wire type, start and stop of the bytes; for a varint, its value instead of the start."""
        data, position = self.data, start
        while position < end:
            if runs and data[position] in b"\x3d\x40":
                # The pattern does not know where the message ends, so the match is bounded by `end`.
                match = (_FLOATS if data[position] == 0x3D else _INTEGERS).match(data, position, end)
                if match:
                    position = match.end()
                    continue
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise InvalidOnnxError(reason=f"it has more than {MAX_FIELDS} parts")
            key, position = self._varint(position, end)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise _damaged()
            if wire == _VARINT:
                value, position = self._varint(position, end)
                yield number, wire, value, position
                continue
            length = 8 if wire == _FIXED64 else 4
            if wire == _BYTES:
                length, position = self._varint(position, end)
            elif wire not in (_FIXED64, _FIXED32):
                raise _damaged()
            if length > end - position:
                raise _damaged()
            yield number, wire, position, position + length
            position += length

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """A number of up to 64 bits, and the offset after it."""
        value = 0
        for shift in range(0, 70, 7):
            if position >= end:
                raise _damaged()
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), position
        raise _damaged()

    def _text(self, values: dict[int, list[tuple[int, int, int]]], number: int, what: str) -> str:
        """The text of a field that may occur once; empty when it is absent."""
        occurrences = values.get(number, [])
        if not occurrences:
            return ""
        wire, start, stop = occurrences[0]
        if len(occurrences) > 1 or wire != _BYTES:
            raise InvalidOnnxError(reason=f"a node or function gives its {what} more than once, or not as text")
        return self.data[start:stop].decode("utf-8", "replace")

    def _node(self, values: dict[int, list[tuple[int, int, int]]], _size: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise InvalidOnnxError(reason=f"it has more than {MAX_NODES} nodes")
        operator, domain = self._text(values, _NODE_OPERATOR, "operator"), self._text(values, _NODE_DOMAIN, "domain")
        if operator == "EPContext":
            raise InvalidOnnxError(reason="it holds an EPContext node, which carries compiled code or names a file with it")
        self.calls.setdefault(self.function, Counter())["" if domain == "ai.onnx" else domain, operator] += 1
        if domain in DOMAINS or (domain == MICROSOFT and operator in MICROSOFT_OPERATORS):
            return
        self.used.add((domain, operator))

    def _function(self, values: dict[int, list[tuple[int, int, int]]], _size: int) -> None:
        name = (self._text(values, _FUNCTION_DOMAIN, "domain"), self._text(values, _FUNCTION_NAME, "name"))
        self.defined.add(name)
        self.names[self.function] = ("" if name[0] == "ai.onnx" else name[0], name[1])

    def _tensor(self, values: dict[int, list[tuple[int, int, int]]], size: int) -> None:
        if values.get(_TENSOR_EXTERNAL):
            raise InvalidOnnxError(reason="a tensor names another file for its data (external_data); save the model as one file")
        if any(wire != _VARINT or value != _FIRST_DATA_LOCATION for wire, value, _ in values.get(_TENSOR_LOCATION, [])):
            raise InvalidOnnxError(reason="a tensor's data lies outside the file (data_location); save the model as one file")
        count = self._count(values.get(_TENSOR_DIMS, []))
        if values.get(_TENSOR_DIMS) and count > _MAX_ELEMENTS_PER_BYTE * size:
            raise InvalidOnnxError(reason=f"a tensor promises {count} numbers and holds {size} bytes")

    def _sparse(self, values: dict[int, list[tuple[int, int, int]]], _size: int) -> None:
        self.dense += self._count(values.get(_SPARSE_DIMS, []))
        if self.dense > MAX_DENSE:
            raise InvalidOnnxError(reason=f"its sparse tensors unfold to more than {MAX_DENSE} numbers")

    def _count(self, dims: list[tuple[int, int, int]]) -> int:
        """Product of the sizes, which may be packed or not."""
        product = 1
        for wire, value, stop in dims:
            for size in [value] if wire == _VARINT else self._packed(value, stop):
                if size >= 2**63:
                    raise InvalidOnnxError(reason="a tensor has a negative size")
                # Capped, so that a million sizes do not make a number of a million digits.
                product = min(product * size, 2**127)
        return product

    def _packed(self, position: int, end: int) -> Iterator[int]:
        while position < end:
            self.fields += 1
            value, position = self._varint(position, end)
            yield value


def _damaged() -> InvalidOnnxError:
    return InvalidOnnxError(reason="it is damaged, cut off or no ONNX file")


def _quoted(name: str) -> str:
    return repr(name[:80])


_CHECKED_FIELDS = {
    _Kind.NODE: frozenset({_NODE_OPERATOR, _NODE_DOMAIN}),
    _Kind.FUNCTION: frozenset({_FUNCTION_NAME, _FUNCTION_DOMAIN}),
    _Kind.TENSOR: frozenset({_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION}),
    _Kind.SPARSE: frozenset({_SPARSE_DIMS}),
}
_CHECKS = {
    _Kind.NODE: _Traversal._node,  # noqa: SLF001 - the table belongs to the class above
    _Kind.FUNCTION: _Traversal._function,  # noqa: SLF001 - the table belongs to the class above
    _Kind.TENSOR: _Traversal._tensor,  # noqa: SLF001 - the table belongs to the class above
    _Kind.SPARSE: _Traversal._sparse,  # noqa: SLF001 - the table belongs to the class above
}
