"""Large weights bypass tf2onnx, and the graph predicts the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

from relevo.converters.keras.export import TensorSpec, write_graph
from relevo.converters.keras.large_weights import strip_weights
from relevo.converters.keras.silent_import import library

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

onnx: Any = pytest.importorskip("onnx", reason="Keras models need the extra 'keras'")
pytest.importorskip("tensorflow", reason="Keras models need the extra 'keras'")
pytest.importorskip("tf2onnx", reason="Keras models need the extra 'keras'")
keras: Any = library("keras")
tensorflow: Any = library("tensorflow")
layers: Any = keras.layers

#: Two million numbers, all but a few of them in one matrix, as in a VGG.
WIDE = 2_000_000
PICTURES = np.random.default_rng(5).normal(size=(3, 16, 16, 3)).astype(np.float32)
WORDS = np.random.default_rng(5).integers(0, 50, (3, 7)).astype(np.float32)


def vgg() -> Any:
    """Convolutions, then wide layers, one of which is used twice."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((16, 16, 3))
    hidden = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu")(inputs))
    hidden = layers.BatchNormalization()(layers.Conv2D(8, 3)(hidden))
    twice = layers.Dense(20, activation="relu")
    wide = layers.Dense(20)(layers.Dense(WIDE // 288, activation="relu")(layers.Flatten()(hidden)))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(twice(twice(wide))))


def sentences() -> Any:
    """An embedding, an LSTM and an attention, whose weights are read by operators that tf2onnx recognises as patterns."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((7,))
    hidden = layers.Embedding(50, 16)(inputs)
    hidden = layers.MultiHeadAttention(2, 8)(layers.LSTM(16, return_sequences=True)(hidden), hidden)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(hidden)))


def caller(model: Any) -> Callable[[list[Any]], Any]:
    return lambda tensors: model(tensors[0], training=False)


def traced(call: Callable[[list[Any]], Any], *shape: int) -> Any:
    function = tensorflow.function(lambda tensor: call([tensor]), autograph=False)
    return function.get_concrete_function(tensorflow.TensorSpec((None, *shape), "float32", name="x"))


def outputs(written: bytes, batch: Any) -> Any:
    return ort.InferenceSession(written, providers=["CPUExecutionProvider"]).run(None, {"x": batch})[0]


@pytest.mark.parametrize(("make", "batch"), [(vgg, PICTURES), (sentences, WORDS)], ids=["vgg", "sentences"])
def test_stripped_weights_are_inserted(make: Callable[[], Any], batch: Any) -> None:
    """Whichever weights are stripped, the graph with one input predicts as the original."""
    model = make()
    axes = [TensorSpec(name="x", dtype="float32", shape=batch.shape[1:])]
    expected = model.predict(batch, verbose=0)
    stripped = write_graph(caller(model), axes, large=0)
    for graph in (stripped, write_graph(caller(model), axes, large=2**40)):
        assert np.abs(outputs(graph.onnx, batch) - expected).max() < 1e-6
    assert [value.name for value in onnx.load_from_string(stripped.onnx).graph.input] == ["x"]


def test_the_same_model_is_the_same_bytes() -> None:
    """Large weights are inserted in the order of the graph."""
    model, axes = vgg(), [TensorSpec(name="x", dtype="float32", shape=(16, 16, 3))]
    assert write_graph(caller(model), axes, large=0) == write_graph(caller(model), axes, large=0)


def test_tf2onnx_never_holds_a_large_weight(tmp_path: Path) -> None:
    """The stripped graph is a tenth of the model's size, for a live one and for a SavedModel, whose graph calls another."""
    model = vgg()
    model.export(tmp_path / "saved", verbose=False)
    saved = tensorflow.saved_model.load(str(tmp_path / "saved"))
    signature = saved.signatures["serving_default"]
    name = next(iter(signature.structured_input_signature[1]))
    for call in (caller(model), lambda tensors: signature(**{name: tensors[0]})["output_0"]):
        stripped = strip_weights(traced(call, 16, 16, 3))
        assert stripped is not None
        assert stripped.graph_def.ByteSize() < 4 * WIDE / 10
        assert [variable.shape.as_list() for variable in stripped.weights.values()] == [[288, WIDE // 288]]


def test_weights_are_stored_transposed() -> None:
    """A convolution's weight is stored transposed as ONNX needs it, so nothing is transposed when the server starts."""
    model = vgg()
    graph = onnx.load_from_string(
        write_graph(caller(model), [TensorSpec(name="x", dtype="float32", shape=(16, 16, 3))], large=0).onnx
    ).graph
    weights = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    assert not [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights]
    assert (8, 3, 3, 3) in weights.values()


def test_small_weights_and_patterns_are_not_stripped() -> None:
    """Without large weights tf2onnx gets the whole graph; an LSTM's weights are never stripped."""
    pictures, words = vgg(), sentences()
    assert strip_weights(traced(caller(pictures), 16, 16, 3), large=2**30) is None
    stripped = strip_weights(traced(caller(words), 7), large=0)
    assert stripped is not None
    assert [50, 16] in (shapes := [variable.shape.as_list() for variable in stripped.weights.values()])
    assert [16, 64] not in shapes


def test_out_of_memory_is_reported() -> None:
    """A conversion that runs out of memory raises MemoryError, not an error of the model."""

    def greedy(_: list[Any]) -> Any:
        raise MemoryError

    def exhausted(_: list[Any]) -> Any:
        raise tensorflow.errors.ResourceExhaustedError(None, None, "no room")

    for call in (greedy, exhausted):
        with pytest.raises(MemoryError):
            write_graph(call, [TensorSpec(name="x", dtype="float32", shape=(2,))])
