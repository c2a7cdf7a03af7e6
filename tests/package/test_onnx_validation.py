"""Validation of ONNX bytes: valid files pass, hostile ones are rejected, in bounded time."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from relevo.errors import InvalidOnnxError
from relevo.package import onnx_validation
from relevo.package.onnx_validation import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def tensor(name: str = "w") -> Any:
    return numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), name)


def graph(nodes: Sequence[Any] = (), initializers: Sequence[Any] = (), name: str = "g") -> Any:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])
    return helper.make_graph(
        list(nodes) or [helper.make_node("MatMul", ["x", "w"], ["y"])], name, [x], [y], list(initializers) or [tensor()]
    )


def model(*nodes: Any, initializers: Sequence[Any] = (), functions: Sequence[Any] = ()) -> Any:
    return helper.make_model(
        graph(nodes, initializers), functions=list(functions), ir_version=10, opset_imports=[helper.make_opsetid("", 18)]
    )


def outside(location: str = "../secret.bin", name: str = "w") -> Any:
    hostile = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    hostile.external_data.add(key="location", value=location)
    return hostile


def branch(inner: Any) -> Any:
    return helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)


def refused(proto: Any) -> str:
    with pytest.raises(InvalidOnnxError) as caught:
        audit(proto.SerializeToString())
    return str(caught.value)


def test_an_honest_model_passes() -> None:
    """A plain model with embedded weights passes."""
    audit(model().SerializeToString())


def test_the_schema_numbers_are_those_of_onnx() -> None:
    """Every field of onnx.proto with a validated message type is traversed."""
    protos: dict[str, Any] = {
        "model": onnx.ModelProto,
        "graph": onnx.GraphProto,
        "node": onnx.NodeProto,
        "attribute": onnx.AttributeProto,
        "tensor": onnx.TensorProto,
        "sparse tensor": onnx.SparseTensorProto,
        "function": onnx.FunctionProto,
        "training info": onnx.TrainingInfoProto,
    }
    kinds = {proto.DESCRIPTOR.name: kind for kind, proto in protos.items()}
    for kind, nested in onnx_validation._NESTED.items():
        expected = {
            field.number: kinds[field.message_type.name]
            for field in protos[kind.value].DESCRIPTOR.fields
            if field.message_type is not None and field.message_type.name in kinds
        }
        assert {number: other.value for number, other in nested.items()} == expected, kind


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "weights.bin", ""])
def test_weights_in_another_file_are_refused(location: str) -> None:
    """Rejects an initializer with external data, wherever its file is."""
    assert "one file" in refused(model(initializers=[outside(location)]))


def test_an_external_entry_without_its_flag_is_refused() -> None:
    """Rejects the external_data entry without the flag, though a reader might ignore it."""
    hostile = outside()
    hostile.data_location = TensorProto.DEFAULT
    assert "external_data" in refused(model(initializers=[hostile]))


def test_the_flag_without_an_entry_is_refused() -> None:
    """Rejects the flag without the entry."""
    hostile = outside()
    hostile.ClearField("external_data")
    assert "data_location" in refused(model(initializers=[hostile]))


def sparse(*, values: Any = None, indices: Any = None) -> Any:
    good = numpy_helper.from_array(np.ones(1, np.float32), "v"), numpy_helper.from_array(np.zeros(1, np.int64), "i")
    return helper.make_sparse_tensor(values or good[0], indices or good[1], [2, 3])


def in_sparse_values() -> Any:
    proto = model()
    proto.graph.sparse_initializer.append(sparse(values=outside()))
    return proto


def in_sparse_indices() -> Any:
    proto = model()
    proto.graph.sparse_initializer.append(sparse(indices=outside()))
    return proto


def in_constant() -> Any:
    return model(helper.make_node("Constant", [], ["y"], value=outside()))


def in_constant_sparse() -> Any:
    return model(helper.make_node("Constant", [], ["y"], sparse_value=sparse(values=outside())))


def in_tensor_list() -> Any:
    node = helper.make_node("Constant", [], ["y"])
    node.attribute.add(name="values", type=onnx.AttributeProto.TENSORS).tensors.append(outside())
    return model(node)


def in_if() -> Any:
    return model(branch(graph(initializers=[outside()])))


def in_loop() -> Any:
    body = graph([helper.make_node("Constant", [], ["y"], value=outside())])
    return model(helper.make_node("Loop", ["n", "c"], ["y"], body=body))


def in_graph_list() -> Any:
    node = helper.make_node("If", ["c"], ["y"])
    node.attribute.add(name="graphs", type=onnx.AttributeProto.GRAPHS).graphs.append(graph(initializers=[outside()]))
    return model(node)


def function(*nodes: Any, name: str = "F") -> Any:
    return helper.make_function("own", name, ["x"], ["y"], list(nodes), [helper.make_opsetid("", 18)])


def in_function() -> Any:
    return model(functions=[function(helper.make_node("Constant", [], ["y"], value=outside()))])


def in_function_default() -> Any:
    own = function(helper.make_node("Identity", ["x"], ["y"]))
    own.attribute_proto.append(helper.make_attribute("v", outside()))
    return model(functions=[own])


def in_training() -> Any:
    proto = model()
    proto.training_info.add().algorithm.CopyFrom(graph(initializers=[outside()]))
    return proto


HIDING_PLACES: list[Callable[[], Any]] = [
    in_sparse_values,
    in_sparse_indices,
    in_constant,
    in_constant_sparse,
    in_tensor_list,
    in_if,
    in_loop,
    in_graph_list,
    in_function,
    in_function_default,
    in_training,
]


@pytest.mark.parametrize("build", HIDING_PLACES, ids=lambda build: build.__name__)
def test_a_foreign_file_is_found_wherever_it_hides(build: Callable[[], Any]) -> None:
    """Rejects external data in every place that can hold a tensor."""
    assert "one file" in refused(build())


@pytest.mark.parametrize("domain", ["", "com.microsoft", "vendor"])
def test_compiled_code_is_refused(domain: str) -> None:
    """Rejects an EPContext node in any domain, also in subgraphs."""
    node = helper.make_node("EPContext", ["x"], ["y"], domain=domain, embed_mode=0, ep_cache_context="/opt/evil.so")
    assert "EPContext" in refused(model(node))
    assert "EPContext" in refused(model(branch(graph([node]))))


def test_an_unknown_domain_is_refused() -> None:
    """Rejects an operator of an unknown domain, naming it."""
    message = refused(model(helper.make_node("Evil", ["x"], ["y"], domain="com.evil")))
    assert "'Evil'" in message
    assert "'com.evil'" in message


def test_an_unlisted_operator_of_the_runtime_is_refused() -> None:
    """Of ONNX Runtime's own domain only the listed operators pass."""
    audit(model(helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft")).SerializeToString())
    assert "'Snpe'" in refused(model(helper.make_node("Snpe", ["x"], ["y"], domain="com.microsoft")))


def test_a_function_of_the_file_itself_may_be_called() -> None:
    """An operator of a custom domain passes if the file defines it as a function."""
    call = helper.make_node("F", ["x"], ["y"], domain="own")
    own = function(helper.make_node("Identity", ["x"], ["y"]))
    audit(model(call, functions=[own]).SerializeToString())
    assert "'own'" in refused(model(call, functions=[function(helper.make_node("Identity", ["x"], ["y"]), name="G")]))


def test_a_shape_bomb_is_refused() -> None:
    """Rejects a tensor whose shape exceeds its data."""
    bomb = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10**6, 10**6], raw_data=b"1234")
    assert "promises" in refused(model(initializers=[bomb]))


def test_a_sparse_bomb_is_refused() -> None:
    """Rejects a small sparse tensor that is huge in dense form."""
    bomb = sparse()
    bomb.dims[:] = [10**6, 10**6]
    proto = model()
    proto.graph.sparse_initializer.append(bomb)
    assert "unfold" in refused(proto)


def test_a_negative_size_is_refused() -> None:
    """Rejects negative dimensions."""
    assert "negative" in refused(model(initializers=[TensorProto(name="w", data_type=1, dims=[-1])]))


def test_deep_nesting_is_refused() -> None:
    """Limits nested graphs without recursion: ten thousand levels take no longer than forty."""
    nested = b""
    for _ in range(10_000):
        attribute = b"\x32" + _size(nested) + nested
        node = b"\x2a" + _size(attribute) + attribute
        nested = b"\x0a" + _size(node) + node
    with pytest.raises(InvalidOnnxError, match="deep"):
        audit(b"\x3a" + _size(nested) + nested)


def _size(data: bytes) -> bytes:
    remaining, out = len(data), b""
    while remaining > 127:
        out, remaining = out + bytes([remaining & 127 | 128]), remaining >> 7
    return out + bytes([remaining])


def test_too_many_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits the number of nodes."""
    monkeypatch.setattr(onnx_validation, "MAX_NODES", 3)
    assert "nodes" in refused(model(*[helper.make_node("Identity", ["x"], ["y"]) for _ in range(4)]))


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits the file size, before anything is parsed."""
    monkeypatch.setattr(onnx_validation, "MAX_BYTES", 10)
    assert "bytes" in refused(model())


def test_too_many_parts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits the number of parsed fields, and so the time."""
    monkeypatch.setattr(onnx_validation, "MAX_FIELDS", 5)
    assert "parts" in refused(model())


def test_two_operators_on_one_node_are_refused() -> None:
    """Rejects a node that names its operator twice, which is ambiguous."""
    node = (
        helper.make_node("MatMul", ["x", "w"], ["y"]).SerializeToString()
        + helper.make_node("EPContext", [], []).SerializeToString()
    )
    hostile = b"\x08\x0a\x3a" + bytes([len(node) + 2]) + b"\x0a" + bytes([len(node)]) + node
    with pytest.raises(InvalidOnnxError, match="more than once"):
        audit(hostile)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x3a", b"not an onnx file", b"\x3a\xff\xff\xff\xff\x0f", b"\x08\x0a", b"\x0b\x0c", b"\xff" * 40]
)
def test_no_onnx_at_all_is_refused(data: bytes) -> None:
    """Rejects bytes that are no ONNX file."""
    with pytest.raises(InvalidOnnxError):
        audit(data)


def test_every_truncation_is_refused() -> None:
    """Rejects a file truncated anywhere inside its graph."""
    whole = helper.make_model(graph(), opset_imports=[helper.make_opsetid("", 18)])
    whole.ClearField("opset_import")
    data = whole.SerializeToString()
    for cut in range(len(data)):
        with pytest.raises(InvalidOnnxError):
            audit(data[:cut])


def test_a_large_forest_is_audited_in_seconds() -> None:
    """A million tree nodes, one protobuf field per number, take seconds, not minutes."""
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml")
    node.attribute.add(name="nodes_values", type=onnx.AttributeProto.FLOATS).floats.extend(np.zeros(10**6))
    node.attribute.add(name="nodes_ids", type=onnx.AttributeProto.INTS).ints.extend(range(10**6))
    node.attribute.add(name="nodes_modes", type=onnx.AttributeProto.STRINGS).strings.extend([b"LEAF"] * 10**5)
    data = model(node).SerializeToString()
    started = time.monotonic()
    audit(data)
    assert time.monotonic() - started < 5


SEEDS = [build().SerializeToString() for build in [model, *HIDING_PLACES]]


@settings(max_examples=300, deadline=2000)
@given(seed=st.sampled_from(SEEDS), cuts=st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=6)), min_size=1, max_size=6))
def test_mutations_are_refused_or_pass_and_never_hang(seed: bytes, cuts: list[tuple[int, bytes]]) -> None:
    """For mutated files the validation ends soon, with None or InvalidOnnxError."""
    data = bytearray(seed)
    for at, new in cuts:
        where = at % len(data)
        data[where : where + max(1, len(new) - 1)] = new
        data = data or bytearray(b"\x00")
    with suppress(InvalidOnnxError):
        audit(bytes(data))


@settings(max_examples=200, deadline=2000)
@given(data=st.binary(max_size=400))
def test_noise_is_refused_or_passes_and_never_hangs(data: bytes) -> None:
    """Random bytes give None or InvalidOnnxError."""
    with suppress(InvalidOnnxError):
        audit(data)


@settings(max_examples=150, deadline=2000)
@given(seed=st.sampled_from(SEEDS[1:]), at=st.integers(0, 2**16), bit=st.integers(0, 7))
def test_what_passes_names_no_file_in_the_library_either(seed: bytes, at: int, bit: int) -> None:
    """A mutated hostile file that passes has no external data when the onnx library parses it."""
    data = bytearray(seed)
    data[at % len(data)] ^= 1 << bit
    try:
        audit(bytes(data))
    except InvalidOnnxError:
        return
    try:
        proto = onnx.ModelProto.FromString(bytes(data))
    except Exception:  # noqa: BLE001 - bytes the library refuses harm nobody
        return
    assert not list(onnx.external_data_helper._get_all_tensors(proto)) or not any(
        tensor.external_data or tensor.data_location for tensor in onnx.external_data_helper._get_all_tensors(proto)
    )


def nested_functions(storeys: int) -> Any:
    """Functions, each of which calls the next one twice."""
    made = []
    for storey in range(storeys):
        below, domain = (f"f{storey - 1}", "own") if storey else ("Identity", "")
        calls = [helper.make_node(below, [source], [target], domain=domain) for source, target in ("ac", "cb")]
        made.append(helper.make_function("own", f"f{storey}", ["a"], ["b"], calls, [helper.make_opsetid("", 18)]))
    return model(helper.make_node(f"f{storeys - 1}", ["x"], ["y"], domain="own"), functions=made)


def test_a_tower_of_functions_is_refused_before_anybody_unfolds_it() -> None:
    """Inlined nodes are limited; a small nesting passes, and recursion is rejected."""
    audit(nested_functions(10).SerializeToString())
    began = time.monotonic()
    assert "its functions unfold to more than 100000 nodes" in refused(nested_functions(40))
    assert time.monotonic() - began < 5
    round_ = [
        helper.make_function("own", source, ["a"], ["b"], [helper.make_node(target, ["a"], ["b"], domain="own")], [])
        for source, target in (("f", "g"), ("g", "f"))
    ]
    assert "call each other in a circle" in refused(model(helper.make_node("f", ["x"], ["y"], domain="own"), functions=round_))
