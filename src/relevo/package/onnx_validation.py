"""An ONNX file is one file and nothing but data: judged from its bytes before any library parses them.

    bytes ─ fields ─► Model ─► Graph ─► Node ─► Attribute ─► Tensor      every message that can carry a tensor, graph or operator
                        ├──► Function ──┘           └──► Graph …          subgraphs, functions, training graphs: the same walk
                        └──► training info

Refused: data kept in other files, operators outside the short lists, nodes that embed compiled code (EPContext), shapes
that promise more numbers than the file holds, and more nodes, nesting or bytes than any honest model has.

The walk keeps its own stack, so hostile nesting cannot exhaust Python's, and it refuses what the wire format allows but no ONNX
writer emits (groups, one operator name given twice), so that no other parser can read the same bytes another way. It proves
nothing about the model being *valid*: ONNX Runtime says that afterwards.
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

MAX_BYTES = 2**31 - 1  # what one protobuf message may weigh
MAX_NODES = 100_000
MAX_DEPTH = 32  # graphs within graphs
MAX_FIELDS = 20_000_000  # protobuf fields looked at one by one; bounds the time
MAX_DENSE = 2**28  # numbers that all sparse tensors together become when they are unfolded

#: Operator domains anybody may use: the standard's own.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
#: Of ONNX Runtime's own domain, only what quantisation and the usual graph optimisers write.
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
_PACKING = 4  # elements one byte of tensor data can hold at most (2-bit types)
# Runs of unpacked floats (field 7) and integers (field 8), as trees carry by the million: skipped at C speed, without backtracking.
_FLOATS = re.compile(rb"(?:\x3d[\x00-\xff]{4})++")
_INTEGERS = re.compile(rb"(?:\x40[\x80-\xff]{0,9}+[\x00-\x7f])++")


class _Kind(Enum):
    """A protobuf message of the ONNX schema that can carry something worth judging."""

    MODEL = "model"
    GRAPH = "graph"
    NODE = "node"
    ATTRIBUTE = "attribute"
    TENSOR = "tensor"
    SPARSE = "sparse tensor"
    FUNCTION = "function"
    TRAINING = "training info"


#: Field numbers (onnx.proto) that hold further messages.
_INNER: dict[_Kind, dict[int, _Kind]] = {
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
#: Field numbers that carry what a verdict rests on.
_NODE_OPERATOR, _NODE_DOMAIN = 4, 7
_FUNCTION_NAME, _FUNCTION_DOMAIN = 1, 10
_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14
_SPARSE_DIMS = 3
_FIRST_DATA_LOCATION = 0


def audit(onnx: bytes) -> None:
    """Judge an ONNX file by its bytes alone; returns when nothing speaks against it.

    Takes time in proportion to the file, bounded by MAX_FIELDS; never recurses. Raises InvalidOnnxError with the first objection.
    """
    if not onnx:
        raise InvalidOnnxError(reason="it is empty")
    if len(onnx) > MAX_BYTES:
        raise InvalidOnnxError(reason=f"it has more than {MAX_BYTES} bytes")
    _Walk(data=onnx).run()


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One walk over one file; lives as long as the call of `audit`."""

    data: bytes
    pending: list[tuple[_Kind, int, int, int, int]] = field(default_factory=list)  # kind, start, end, graphs above, function
    used: set[tuple[str, str]] = field(default_factory=set)  # operators outside the lists, to be found among the functions
    defined: set[tuple[str, str]] = field(default_factory=set)
    #: By function (where it starts; 0 for all that stands in none): how often it uses which operator, and what it is called.
    calls: dict[int, Counter[tuple[str, str]]] = field(default_factory=dict)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)
    function: int = 0  # what the message belongs to that is being judged
    nodes: int = 0
    fields: int = 0
    graphs: int = 0
    dense: int = 0

    def run(self) -> None:
        """Take message after message off the stack, then judge what needs the whole file."""
        self.pending.append((_Kind.MODEL, 0, len(self.data), 0, 0))
        while self.pending:
            self._message(*self.pending.pop())
        if not self.graphs:
            raise InvalidOnnxError(reason="it holds no graph")
        for domain, operator in sorted(self.used - self.defined):
            raise InvalidOnnxError(reason=f"it uses the operator {_shown(operator)} of {_shown(domain)}, which is not on the list")
        self._refuse_towers()

    def _refuse_towers(self) -> None:
        """Functions that call functions become nodes when they are loaded, many times as many in each storey."""
        unfolded: dict[tuple[str, str], int] = {}
        waiting, named = dict(self.names), set(self.names.values())
        while waiting:
            ready = [start for start in waiting if all(name in unfolded or name not in named for name in self._used_by(start))]
            if not ready:
                raise InvalidOnnxError(reason="its functions call each other in a circle")
            for start in ready:
                unfolded[waiting.pop(start)] = self._unfolded(start, unfolded)
        if self._unfolded(0, unfolded) > MAX_NODES:
            raise InvalidOnnxError(reason=f"its functions unfold to more than {MAX_NODES} nodes")

    def _used_by(self, start: int) -> Counter[tuple[str, str]]:
        return self.calls.get(start, Counter())

    def _unfolded(self, start: int, known: dict[tuple[str, str], int]) -> int:
        """Nodes of a function, or of the model, when every call has become what it calls."""
        total = sum(count * known.get(name, 1) for name, count in self._used_by(start).items())
        return min(total + 1, MAX_NODES + 1)  # the cap keeps a tower from growing one number without end

    def _message(self, kind: _Kind, start: int, end: int, depth: int, function: int) -> None:
        """Judge one message and put those inside it on the stack."""
        self.function = function = start if kind is _Kind.FUNCTION else function
        if kind is _Kind.GRAPH:
            self.graphs += 1
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidOnnxError(reason=f"graphs are nested more than {MAX_DEPTH} deep")
        inner = _INNER[kind]
        kept: dict[int, list[tuple[int, int, int]]] = {}
        for number, wire, value, stop in self._fields(start, end, runs=kind is _Kind.ATTRIBUTE):
            if number in inner:
                if wire != _BYTES:
                    raise InvalidOnnxError(reason=f"a {inner[number].value} is not encoded as a message")
                self.pending.append((inner[number], value, stop, depth, function))
            elif number in _KEPT.get(kind, ()):
                kept.setdefault(number, []).append((wire, value, stop))
        if kind in _JUDGES:
            _JUDGES[kind](self, kept, end - start)

    def _fields(self, start: int, end: int, *, runs: bool) -> Iterator[tuple[int, int, int, int]]:
        """Number, wire type, and where the bytes lie (start, stop); of a varint its value stands in place of the start."""
        data, at = self.data, start
        while at < end:
            if runs and data[at] in b"\x3d\x40":
                # What ends with the message cannot be told by the pattern, so a run may only end inside it.
                found = (_FLOATS if data[at] == 0x3D else _INTEGERS).match(data, at, end)
                if found:
                    at = found.end()
                    continue
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise InvalidOnnxError(reason=f"it has more than {MAX_FIELDS} parts")
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise _damaged()
            if wire == _VARINT:
                value, at = self._varint(at, end)
                yield number, wire, value, at
                continue
            length = 8 if wire == _FIXED64 else 4
            if wire == _BYTES:
                length, at = self._varint(at, end)
            elif wire not in (_FIXED64, _FIXED32):
                raise _damaged()
            if length > end - at:
                raise _damaged()
            yield number, wire, at, at + length
            at += length

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A number of up to 64 bits, and where the next field begins."""
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise _damaged()
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), at
        raise _damaged()

    def _text(self, kept: dict[int, list[tuple[int, int, int]]], number: int, what: str) -> str:
        """The text of a field that may stand once; empty when it is absent."""
        found = kept.get(number, [])
        if not found:
            return ""
        wire, start, stop = found[0]
        if len(found) > 1 or wire != _BYTES:
            raise InvalidOnnxError(reason=f"a node or function gives its {what} more than once, or not as text")
        return self.data[start:stop].decode("utf-8", "replace")

    def _node(self, kept: dict[int, list[tuple[int, int, int]]], _size: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise InvalidOnnxError(reason=f"it has more than {MAX_NODES} nodes")
        operator, domain = self._text(kept, _NODE_OPERATOR, "operator"), self._text(kept, _NODE_DOMAIN, "domain")
        if operator == "EPContext":
            raise InvalidOnnxError(reason="it holds an EPContext node, which carries compiled code or names a file with it")
        self.calls.setdefault(self.function, Counter())["" if domain == "ai.onnx" else domain, operator] += 1
        if domain in DOMAINS or (domain == MICROSOFT and operator in MICROSOFT_OPERATORS):
            return
        self.used.add((domain, operator))

    def _function(self, kept: dict[int, list[tuple[int, int, int]]], _size: int) -> None:
        name = (self._text(kept, _FUNCTION_DOMAIN, "domain"), self._text(kept, _FUNCTION_NAME, "name"))
        self.defined.add(name)
        self.names[self.function] = ("" if name[0] == "ai.onnx" else name[0], name[1])

    def _tensor(self, kept: dict[int, list[tuple[int, int, int]]], size: int) -> None:
        if kept.get(_TENSOR_EXTERNAL):
            raise InvalidOnnxError(reason="a tensor names another file for its data (external_data); save the model as one file")
        if any(wire != _VARINT or value != _FIRST_DATA_LOCATION for wire, value, _ in kept.get(_TENSOR_LOCATION, [])):
            raise InvalidOnnxError(reason="a tensor's data lies outside the file (data_location); save the model as one file")
        count = self._count(kept.get(_TENSOR_DIMS, []))
        if kept.get(_TENSOR_DIMS) and count > _PACKING * size:
            raise InvalidOnnxError(reason=f"a tensor promises {count} numbers and holds {size} bytes")

    def _sparse(self, kept: dict[int, list[tuple[int, int, int]]], _size: int) -> None:
        self.dense += self._count(kept.get(_SPARSE_DIMS, []))
        if self.dense > MAX_DENSE:
            raise InvalidOnnxError(reason=f"its sparse tensors unfold to more than {MAX_DENSE} numbers")

    def _count(self, dims: list[tuple[int, int, int]]) -> int:
        """Product of the sizes, whether they come one by one or packed."""
        product = 1
        for wire, value, stop in dims:
            for size in [value] if wire == _VARINT else self._packed(value, stop):
                if size >= 2**63:
                    raise InvalidOnnxError(reason="a tensor has a negative size")
                # The cap keeps a million sizes from growing one number of a million digits.
                product = min(product * size, 2**127)
        return product

    def _packed(self, at: int, end: int) -> Iterator[int]:
        while at < end:
            self.fields += 1
            value, at = self._varint(at, end)
            yield value


def _damaged() -> InvalidOnnxError:
    return InvalidOnnxError(reason="it is damaged, cut off or no ONNX file")


def _shown(name: str) -> str:
    return repr(name[:80])


_KEPT = {
    _Kind.NODE: frozenset({_NODE_OPERATOR, _NODE_DOMAIN}),
    _Kind.FUNCTION: frozenset({_FUNCTION_NAME, _FUNCTION_DOMAIN}),
    _Kind.TENSOR: frozenset({_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION}),
    _Kind.SPARSE: frozenset({_SPARSE_DIMS}),
}
_JUDGES = {
    _Kind.NODE: _Walk._node,  # noqa: SLF001 - the table belongs to the class above
    _Kind.FUNCTION: _Walk._function,  # noqa: SLF001 - the table belongs to the class above
    _Kind.TENSOR: _Walk._tensor,  # noqa: SLF001 - the table belongs to the class above
    _Kind.SPARSE: _Walk._sparse,  # noqa: SLF001 - the table belongs to the class above
}
