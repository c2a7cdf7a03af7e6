"""Live Keras models are packed: images and rows of numbers, every kind of head, with the original's predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import relevo
from relevo.converters.keras.convert import convert_keras
from relevo.converters.keras.export import TensorSpec, write_graph
from relevo.converters.keras.silent_import import is_keras, library
from relevo.domain.decision import ThresholdDecision
from relevo.domain.preprocessing import ImageSteps, MatrixSteps
from relevo.domain.signature import ImageInput, Output, Task
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.package.conversion import ConversionHints
from relevo.package.parity import score_as_served
from relevo.package.samples import normalize_samples

pytest.importorskip("tensorflow", reason="Keras models need the extra 'keras'")
pytest.importorskip("tf2onnx", reason="Keras models need the extra 'keras'")
keras: Any = library("keras")
layers: Any = keras.layers

DRAW = np.random.default_rng(7)
GREY = DRAW.integers(0, 256, (40, 12, 12), dtype=np.uint8)
COLOUR = DRAW.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
ROWS = DRAW.normal(size=(40, 5))


def net(shape: tuple[int, ...], *ending: Any) -> Any:
    keras.utils.set_random_seed(3)
    body = [layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(0.5)]
    body = [*body, layers.Flatten()] if len(shape) == 3 else [layers.Dense(6, activation="tanh")]
    return keras.Sequential([keras.Input(shape), *body, *ending])


def predicted(model: Any, inputs: Any) -> Any:
    return np.asarray(model.predict(np.asarray(inputs, np.float32), verbose=0), dtype=np.float64)


def test_a_grey_classifier_matches() -> None:
    """A PNG gives the probabilities of model.predict for its pixels over 255, for any batch size."""
    model = net((12, 12, 1), layers.Dense(10, activation="softmax"))
    package = relevo.pack(model, name="digits", samples=GREY, truth=np.arange(40) % 10, preprocess="01", figures=False)
    expected = predicted(model, GREY[..., None] / 255)
    for count in (1, 7):
        answers = package.predict_many([package.golden.payloads[row] for row in range(count)])
        assert len(answers) == count
    scores = np.array([answer.probabilities for answer in package.predict_many(list(GREY_FILES))])
    assert np.abs(scores - expected).max() < 1e-6
    assert package.manifest.output == Output(name="scores", labels=tuple(str(number) for number in range(10)))
    assert package.manifest.input == ImageInput(width=12, height=12, mode="L")
    assert package.manifest.lineage.framework == f"Keras {keras.__version__}"
    assert package.manifest.lineage.parity.reference == "original"


def _files(pictures: Any) -> list[bytes]:
    samples = normalize_samples(pictures)
    return [samples.payload(row) for row in range(len(samples))]  # type: ignore[misc]  # pictures are bytes


GREY_FILES = _files(GREY)


def test_the_same_model_packed_twice_is_the_same_package() -> None:
    """Keras numbers its layers by creation order; the package does not depend on it."""
    digests = {
        relevo.pack(net((12, 12, 1), layers.Dense(3, activation="softmax")), name="d", samples=GREY, labels="abc", scale=1).digest
        for _ in range(2)
    }
    assert len(digests) == 1


def test_one_sigmoid_is_the_probability_of_the_second_label() -> None:
    """The sorted texts of the truth are the classes, labels are displayed, and bands decide."""
    model = net((16, 16, 3), layers.Dense(1, activation="sigmoid"))
    truth = ["cat", "dog"] * 20
    package = relevo.pack(
        model,
        name="pets",
        samples=COLOUR,
        truth=truth,
        labels=["Cat", "Dog"],
        scale=1 / 255,
        decision=ThresholdDecision(accept_at=0.85, reject_at=0.15),
        figures=False,
    )
    dog = predicted(model, COLOUR / 255)[:, 0]
    answer = package.predict(_files(COLOUR[:1])[0])
    assert answer.probabilities == pytest.approx((1 - dog[0], dog[0]), abs=1e-6)
    assert package.metrics["per_class"][1] == package.metrics["per_class"][1] | {"label": "Dog", "rows": 20}


def test_two_sigmoids_keep_their_own_scores() -> None:
    """Several sigmoids are not normalised to a sum of one; the largest wins."""
    model = net((16, 16, 3), layers.Dense(2), layers.Activation("sigmoid"))
    package = relevo.pack(model, name="pets", samples=COLOUR, labels=["cat", "dog"], preprocess="caffe", figures=False)
    assert package.manifest.output.activation == "none"
    flipped = COLOUR[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    expected = predicted(model, flipped)
    answers = package.predict_many(_files(COLOUR))
    assert np.abs(np.array([answer.probabilities for answer in answers]) - expected).max() < 1e-4
    assert [answer.index for answer in answers] == expected.argmax(axis=1).tolist()


def test_logits_become_probabilities_by_loss_or_labels() -> None:
    """A linear head with labels gets a softmax; with one column and from_logits=True a sigmoid."""
    many = relevo.pack(net((5,), layers.Dense(3)), name="m", samples=ROWS, labels=["a", "b", "c"], figures=False)
    assert many.manifest.output.activation == "softmax"
    model = net((5,), layers.Dense(1))
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    one = relevo.pack(model, name="m", samples=ROWS, truth=[0, 1] * 20, figures=False)
    assert (one.manifest.output.labels, one.manifest.output.activation) == (("0", "1"), "sigmoid")
    logit = predicted(model, ROWS)[0, 0]
    answer = one.predict({f"f{column}": float(value) for column, value in enumerate(ROWS[0])})
    assert answer.probabilities[1] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


def own_softmax(numbers: Any) -> Any:
    powers = keras.ops.exp(numbers - keras.ops.max(numbers, axis=-1, keepdims=True))
    return powers / keras.ops.sum(powers, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("ending", "independent"),
    [
        ([layers.Dense(3), layers.Softmax(), layers.Activation("linear", dtype="float32")], False),
        ([layers.Dense(3, activation="softmax"), layers.Reshape((3, 1)), layers.Flatten(), layers.Dropout(0.2)], False),
        ([layers.Dense(3, activation=library("tensorflow").nn.softmax)], False),
        ([layers.Dense(3, activation=own_softmax)], False),
        ([layers.Dense(3, activation="hard_sigmoid")], True),
        ([layers.Dense(3, activation=lambda numbers: 1 / (1 + keras.ops.exp(-numbers)))], True),
    ],
    ids=["mixed precision", "reshaped", "tf.nn", "own softmax", "hard_sigmoid", "own sigmoid"],
)
def test_probabilities_are_served_unchanged(ending: Any, independent: bool) -> None:  # noqa: FBT001 - a case
    """Probabilities of any activation are served as model.predict returns them, without a second activation."""
    model = net((5,), *ending)
    package = relevo.pack(model, name="m", samples=ROWS, labels=["a", "b", "c"], figures=False)
    assert (package.manifest.output.activation, package.manifest.output.independent) == ("none", independent)
    answers = package.predict_many([{f"f{place}": float(value) for place, value in enumerate(row)} for row in ROWS])
    assert np.abs(np.array([answer.probabilities for answer in answers]) - predicted(model, ROWS)).max() < 1e-6


@pytest.mark.parametrize(
    ("ending", "loss", "labels"),
    [
        (layers.Dense(3, activation="relu"), None, ["a", "b", "c"]),
        (layers.Dense(3, activation="tanh"), "mse", ["a", "b", "c"]),
        (layers.Dense(3), "mse", ["a", "b", "c"]),
        (layers.Dense(3), "categorical_crossentropy", ["a", "b", "c"]),
        (layers.Dense(1), "mse", ["no", "yes"]),
        (layers.Dense(1), None, ["no", "yes"]),
    ],
    ids=["relu", "tanh", "numbers", "no from_logits", "a unit for 0 and 1", "a small logit"],
)
def test_ambiguous_scores_require_the_option(ending: Any, loss: Any, labels: Any) -> None:
    """No activation is guessed: the error for `scores` names the values, and the option is then used."""
    model = net((5,), ending)
    if loss:
        model.compile(loss=loss)
    arguments: dict[str, Any] = {"name": "m", "samples": ROWS / 10, "labels": labels, "figures": False}
    with pytest.raises(InvalidOptionsError, match=r"add: scores \(logits, probabilities or percent; numbers"):
        relevo.pack(model, **arguments)
    assert relevo.pack(model, scores="logits", **arguments).manifest.output.activation in ("softmax", "sigmoid")


def test_several_numbers_are_no_classes() -> None:
    """Three outputs trained with a regression loss are rejected, without requiring labels."""
    model = net((5,), layers.Dense(3))
    model.compile(loss="mae")
    with pytest.raises(ConversionError, match="it answers 3 numbers at once; package one model for each"):
        relevo.pack(model, name="m", samples=ROWS)


def heads(kind: Any) -> Any:
    """A model of two heads; the first in the layers is the last in the output."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((5,), name="given")
    alpha = layers.Dense(1, activation="sigmoid", name="second")(inputs)
    zeta = layers.Dense(3, activation="softmax", name="first")(inputs)
    return keras.Model(inputs, kind(zeta, alpha))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (lambda zeta, alpha: {"zeta": zeta, "alpha": alpha}, ("zeta", "alpha")),
        (lambda zeta, alpha: [alpha, zeta], ("first", "second")),
    ],
    ids=["dict", "list"],
)
def test_one_of_several_outputs_is_selected_by_name(kind: Any, names: Any) -> None:
    """The named head of a dict is used, whatever the order in which Keras lists them."""
    model = heads(kind)
    with pytest.raises(InvalidOptionsError, match="--output, one of "):
        convert_keras(model, normalize_samples(ROWS))
    predictions = model.predict(ROWS.astype(np.float32), verbose=0)
    for name, labels, width in ((names[0], ("a", "b", "c"), 3), (names[1], ("no", "yes"), 1)):
        converted = convert_keras(model, normalize_samples(ROWS), ConversionHints(labels=labels), output=name)
        expected = predictions[name] if isinstance(predictions, dict) else predictions[1 if width == 3 else 0]
        assert converted.outputs is not None
        assert np.abs(converted.outputs - expected).max() < 1e-6
        assert np.abs(score_as_served(converted, normalize_samples(ROWS)) - expected).max() < 1e-6
    with pytest.raises(InvalidOptionsError, match="--output, one of "):
        convert_keras(model, normalize_samples(ROWS), ConversionHints(labels=("a", "b", "c")), output="third")
    package = relevo.pack(model, name="m", samples=ROWS, output=Output(name=names[0], labels=("a", "b", "c")), figures=False)
    assert (package.manifest.output.name, package.manifest.output.labels) == ("scores", ("a", "b", "c"))


def test_a_linear_column_is_a_value() -> None:
    """A regression has named features and returns numbers, also with the functional API."""
    given = keras.Input((5,))
    model = keras.Model(given, layers.Dense(1)(layers.Dense(4, activation="relu")(given)))
    names = ["a", "b", "c", "d", "e"]
    package = relevo.pack(model, name="v", samples=ROWS, truth=ROWS[:, 0], features=names, unit="€", figures=False)
    assert (package.manifest.output.task, package.manifest.output.unit) == (Task.REGRESSION, "€")
    assert isinstance(package.manifest.steps, MatrixSteps)
    answer = package.predict(dict(zip(names, ROWS[1].tolist(), strict=True)))
    assert answer.value == pytest.approx(predicted(model, ROWS)[1, 0], abs=1e-6)


def test_all_missing_options_are_named_at_once() -> None:
    """Scaling and labels are named in one error, in pack's own words; a leading Rescaling layer gives the suggestion."""
    with pytest.raises(InvalidOptionsError, match=r"add: preprocess NAME, or scale NUMBER \(most often 01.*labels \(10 of them"):
        relevo.pack(net((12, 12, 1), layers.Dense(10, activation="softmax")), name="d", samples=GREY)
    model = keras.Sequential([keras.Input((12, 12, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(InvalidOptionsError, match="begins with a Rescaling layer of its own, so most likely scale 1"):
        relevo.pack(model, name="d", samples=GREY)
    with pytest.raises(InvalidOptionsError, match="only one of preprocess, scale and steps"):
        relevo.pack(model, name="d", samples=GREY, preprocess="01", scale=1)


def test_one_hot_truth_is_accepted() -> None:
    """One-hot truth is accepted for the metrics too."""
    model = net((12, 12, 1), layers.Dense(4, activation="softmax"))
    truth = np.eye(4)[np.arange(40) % 4]
    package = relevo.pack(model, name="d", samples=GREY, truth=truth, preprocess="tf", figures=False)
    assert [row["rows"] for row in package.metrics["per_class"]] == [10] * 4


def test_several_inputs_become_a_record() -> None:
    """A model of several inputs (n, 1) takes a record, integers as integers."""
    age, clicks = keras.Input((1,), name="age"), keras.Input((1,), name="clicks", dtype="int32")
    mixed = layers.Concatenate()([age, layers.Flatten()(layers.Embedding(10, 2)(clicks))])
    model = keras.Model([age, clicks], layers.Dense(1, activation="sigmoid")(mixed))
    records = [{"age": float(row), "clicks": row % 10} for row in range(30)]
    package = relevo.pack(model, name="c", samples=records, labels=["no", "yes"], figures=False)
    given = [np.array([[row["age"]] for row in records]), np.array([[row["clicks"]] for row in records])]
    assert package.predict(records[3]).probabilities[1] == pytest.approx(model.predict(given, verbose=0)[3, 0], abs=1e-6)


def test_subclassed_models_are_recognised() -> None:
    """Subclassed models are recognised; one that was not built is reported, other objects are not Keras models."""

    class Own(keras.Model):  # type: ignore[misc]  # Keras ships no types
        def __init__(self) -> None:
            super().__init__()
            self.last = layers.Dense(3, activation="softmax")

        def call(self, rows: Any) -> Any:
            return self.last(rows)

    model = Own()
    assert is_keras(model)
    assert not is_keras(object())
    with pytest.raises(ConversionError, match="build it, or call it once"):
        convert_keras(model, normalize_samples(ROWS))
    model(ROWS[:2])
    package = relevo.pack(model, name="own", samples=ROWS, labels=["a", "b", "c"], figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-6


@pytest.mark.parametrize(
    ("model", "samples", "words"),
    [
        (lambda: net((5,), layers.Dense(2, activation="softmax")), ROWS[:, :3], "takes 5 numbers, and the samples have 3"),
        (lambda: keras.Sequential([keras.Input((4, 6)), layers.LSTM(2), layers.Dense(2)]), ROWS, "sequences and volumes"),
        (lambda: net((5,), layers.Dense(2)), [{"a": "x", "b": 1.0}], "hold texts, and the model takes 5 numbers"),
    ],
)
def test_mismatched_samples_are_rejected(model: Any, samples: Any, words: str) -> None:
    """A model and samples of different kinds are rejected with both kinds named."""
    with pytest.raises(ConversionError, match=words):
        relevo.pack(model(), name="d", samples=samples, labels=["a", "b"], scale=1)


def test_an_image_of_another_shape_is_rejected() -> None:
    """An input that contradicts the model's is rejected with both shapes."""
    model = net((16, 16, 3), layers.Dense(2, activation="softmax"))
    with pytest.raises(ConversionError, match=r"takes \(n, 16, 16, 3\); pictures as told would be \(n, 12, 12, 1\)"):
        relevo.pack(model, name="d", samples=GREY, labels=["a", "b"], scale=1, input=ImageInput(width=12, height=12, mode="L"))


def test_steps_of_the_user_are_kept() -> None:
    """Means and resampling given by the user are used in serving."""
    model = net((16, 16, 3), layers.Dense(2, activation="softmax"))
    steps = ImageSteps(input="any", scale=0.5, mean=(1, 2, 3), resample="bilinear")
    package = relevo.pack(model, name="d", samples=COLOUR, labels=["a", "b"], steps=steps, figures=False)
    served_steps = package.manifest.steps
    assert isinstance(served_steps, ImageSteps)
    assert (served_steps.scale, served_steps.mean, served_steps.resample, served_steps.layout) == (
        0.5,
        (1.0, 2.0, 3.0),
        "bilinear",
        "NHWC",
    )


def test_unsupported_operations_are_rejected() -> None:
    """An operation that ONNX lacks is rejected with the converter's reason, without a traceback."""
    tensorflow: Any = library("tensorflow")
    axes = [TensorSpec(name="x", dtype="float32", shape=(2,))]
    with pytest.raises(ConversionError, match="operations that ONNX has not: Svd"):
        write_graph(lambda tensors: tensorflow.linalg.svd(tensors[0][..., None], compute_uv=False), axes)
