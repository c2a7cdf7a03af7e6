"""Heavy weights go past tf2onnx, and the graph answers as if they had not."""

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
    """Convolutions, then wide layers; one of these is used twice."""
    keras.utils.set_random_seed(2)
    given = keras.Input((16, 16, 3))
    seen = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu")(given))
    seen = layers.BatchNormalization()(layers.Conv2D(8, 3)(seen))
    twice = layers.Dense(20, activation="relu")
    wide = layers.Dense(20)(layers.Dense(WIDE // 288, activation="relu")(layers.Flatten()(seen)))
    return keras.Model(given, layers.Dense(4, activation="softmax")(twice(twice(wide))))


def sentences() -> Any:
    """An embedding, an LSTM and an attention, whose weights are read by operators that tf2onnx knows as whole patterns."""
    keras.utils.set_random_seed(2)
    given = keras.Input((7,))
    seen = layers.Embedding(50, 16)(given)
    seen = layers.MultiHeadAttention(2, 8)(layers.LSTM(16, return_sequences=True)(seen), seen)
    return keras.Model(given, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(seen)))


def called(model: Any) -> Callable[[list[Any]], Any]:
    return lambda tensors: model(tensors[0], training=False)


def traced(call: Callable[[list[Any]], Any], *shape: int) -> Any:
    function = tensorflow.function(lambda tensor: call([tensor]), autograph=False)
    return function.get_concrete_function(tensorflow.TensorSpec((None, *shape), "float32", name="x"))


def answers(written: bytes, given: Any) -> Any:
    return ort.InferenceSession(written, providers=["CPUExecutionProvider"]).run(None, {"x": given})[0]


@pytest.mark.parametrize(("make", "given"), [(vgg, PICTURES), (sentences, WORDS)], ids=["vgg", "sentences"])
def test_what_stood_aside_is_in_its_place(make: Callable[[], Any], given: Any) -> None:
    """Whichever weights stand aside, one graph with one input answers as the original."""
    model = make()
    axes = [TensorSpec(name="x", dtype="float32", shape=given.shape[1:])]
    wanted = model.predict(given, verbose=0)
    light = write_graph(called(model), axes, large=0)
    for graph in (light, write_graph(called(model), axes, large=2**40)):
        assert np.abs(answers(graph.onnx, given) - wanted).max() < 1e-6
    assert [value.name for value in onnx.load_from_string(light.onnx).graph.input] == ["x"]


def test_the_same_model_is_the_same_bytes() -> None:
    """Heavy weights come in the order of the graph, as everything else does."""
    model, axes = vgg(), [TensorSpec(name="x", dtype="float32", shape=(16, 16, 3))]
    assert write_graph(called(model), axes, large=0) == write_graph(called(model), axes, large=0)


def test_tf2onnx_never_holds_a_heavy_weight(tmp_path: Path) -> None:
    """The graph it is given weighs a tenth of the model, of a live one as of a SavedModel, whose graph calls another."""
    model = vgg()
    model.export(tmp_path / "saved", verbose=False)
    saved = tensorflow.saved_model.load(str(tmp_path / "saved"))
    signature = saved.signatures["serving_default"]
    name = next(iter(signature.structured_input_signature[1]))
    for call in (called(model), lambda tensors: signature(**{name: tensors[0]})["output_0"]):
        light = strip_weights(traced(call, 16, 16, 3))
        assert light is not None
        assert light.graph_def.ByteSize() < 4 * WIDE / 10
        assert [variable.shape.as_list() for variable in light.weights.values()] == [[288, WIDE // 288]]


def test_turned_weights_are_turned_once() -> None:
    """A convolution's weight lies in the file as ONNX wants it: nothing is left to turn when the server starts."""
    model = vgg()
    graph = onnx.load_from_string(
        write_graph(called(model), [TensorSpec(name="x", dtype="float32", shape=(16, 16, 3))], large=0).onnx
    ).graph
    weights = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    assert not [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights]
    assert (8, 3, 3, 3) in weights.values()


def test_light_weights_and_patterns_stay_where_they_are() -> None:
    """Without a heavy weight everything goes the usual way; an LSTM's weights go it however heavy they are."""
    pictures, words = vgg(), sentences()
    assert strip_weights(traced(called(pictures), 16, 16, 3), large=2**30) is None
    light = strip_weights(traced(called(words), 7), large=0)
    assert light is not None
    assert [50, 16] in (shapes := [variable.shape.as_list() for variable in light.weights.values()])
    assert [16, 64] not in shapes


def test_want_of_memory_is_told_as_that() -> None:
    """A conversion that runs out of memory does not blame the model."""

    def greedy(_: list[Any]) -> Any:
        raise MemoryError

    def exhausted(_: list[Any]) -> Any:
        raise tensorflow.errors.ResourceExhaustedError(None, None, "no room")

    for call in (greedy, exhausted):
        with pytest.raises(MemoryError):
            write_graph(call, [TensorSpec(name="x", dtype="float32", shape=(2,))])
