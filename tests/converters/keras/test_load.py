"""Files in the formats of Keras 1, 2 and 3, made here from trained networks, predict as the network."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from relevo.converters.keras.load import load
from relevo.converters.keras.outputs import loss_kind
from relevo.converters.keras.silent_import import library
from relevo.errors import ConversionError, InvalidOptionsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

h5py: Any = pytest.importorskip("h5py", reason="Keras files need the extra 'keras'")
pytest.importorskip("tensorflow", reason="Keras files need the extra 'keras'")
#: Keras' own, on the way to the files.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation", "ignore:The object being serialized")
keras: Any = library("keras")
layers: Any = keras.layers

PICTURES = np.random.default_rng(1).random((6, 9, 9, 3), dtype=np.float32)
_CONV_1 = {"nb_filter": 4, "nb_row": 3, "nb_col": 3, "init": "glorot_uniform", "border_mode": "valid", "subsample": [1, 1]}


@pytest.fixture(scope="module")
def trained() -> Any:
    """A small network of layers that every release had, after a few training steps."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((9, 9, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("relu", name="act"),
            layers.MaxPooling2D(name="pool"),
            layers.Dropout(0.3, name="drop"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="last"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(PICTURES, np.arange(6) % 3, epochs=3, verbose=0)
    return model


def answers(model: Any, given: Any = PICTURES) -> Any:
    return model.predict(np.asarray(given), verbose=0)


def hdf5(model: Any, folder: Path, change: Callable[[Any], None]) -> bytes:
    """The model in HDF5, with attributes and arrays changed to those of an older release."""
    path = folder / "model.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path.read_bytes()


def keras_2(config: list[dict[str, Any]], *, bare: bool = False) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": config if bare else {"name": "s", "layers": config}}


CONFIG_2 = [
    {
        "class_name": "Conv2D",
        "config": {
            "name": "conv",
            "trainable": True,
            "batch_input_shape": [None, 9, 9, 3],
            "dtype": "float32",
            "filters": 4,
            "kernel_size": [3, 3],
            "strides": [1, 1],
            "padding": "valid",
            "data_format": "channels_last",
            "activation": "linear",
            "use_bias": True,
            "kernel_initializer": {"class_name": "Unknown", "config": {}},
            "kernel_regularizer": None,
            "activity_regularizer": None,
            "bias_constraint": None,
            "dilation_rate": [1, 1],
        },
    },
    {
        "class_name": "BatchNormalization",
        "config": {"name": "norm", "axis": [3], "momentum": 0.99, "epsilon": 0.001, "scale": True},
    },
    {"class_name": "Activation", "config": {"name": "act", "trainable": True, "activation": "relu"}},
    {"class_name": "MaxPooling2D", "config": {"name": "pool", "pool_size": [2, 2], "padding": "valid", "strides": [2, 2]}},
    {"class_name": "Dropout", "config": {"name": "drop", "rate": 0.3, "noise_shape": None, "seed": None}},
    {"class_name": "Flatten", "config": {"name": "flat", "trainable": True}},
    {"class_name": "Dense", "config": {"name": "last", "units": 3, "activation": "softmax_v2", "use_bias": True}},
]
CONFIG_1 = [
    {
        "class_name": "Convolution2D",
        "config": {
            **_CONV_1,
            "name": "conv",
            "batch_input_shape": [None, 9, 9, 3],
            "dim_ordering": "tf",
            "activation": "linear",
            "bias": True,
            "W_regularizer": None,
            "b_constraint": None,
            "input_dtype": "float32",
        },
    },
    {"class_name": "BatchNormalization", "config": {"name": "norm", "mode": 0, "axis": -1, "epsilon": 0.001, "beta_init": "zero"}},
    {"class_name": "Activation", "config": {"name": "act", "activation": "relu"}},
    {"class_name": "MaxPooling2D", "config": {"name": "pool", "pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid"}},
    {"class_name": "Dropout", "config": {"name": "drop", "p": 0.3}},
    {"class_name": "Flatten", "config": {"name": "flat"}},
    {"class_name": "Dense", "config": {"name": "last", "output_dim": 3, "activation": "softmax", "input_dim": None, "bias": True}},
]


def as_release(release: str, config: dict[str, Any], backend: str = "tensorflow") -> Callable[[Any], None]:
    def change(file: Any) -> None:
        file.attrs["model_config"] = json.dumps(config)
        for place in (file, file["model_weights"]):
            place.attrs["keras_version"] = release
            place.attrs["backend"] = backend
        if release.startswith("1.0"):
            del file.attrs["keras_version"], file["model_weights"].attrs["keras_version"]

    return change


@pytest.mark.parametrize(
    ("release", "config"),
    [
        ("2.3.0-tf", keras_2(CONFIG_2)),
        ("2.0.4", keras_2(CONFIG_2, bare=True)),
        ("1.2.2", keras_2(CONFIG_1, bare=True)),
        ("1.0.0", keras_2(CONFIG_1, bare=True)),
    ],
)
def test_a_file_of_an_older_release_matches(release: str, config: dict[str, Any], trained: Any, tmp_path: Path) -> None:
    """Renamed arguments, bare lists, unknown initialisers: predictions are those of the saved network."""
    loaded = load([hdf5(trained, tmp_path, as_release(release, config)), b""])
    assert np.abs(answers(loaded.model) - answers(trained)).max() < 1e-6
    assert loaded.release == ("1" if release == "1.0.0" else release)


def test_kernels_of_theano_are_rotated(trained: Any, tmp_path: Path) -> None:
    """Theano stored (out, in, rows, columns) and rotated kernels by 180°; predictions are the same."""
    config = json.loads(json.dumps(CONFIG_1))

    def change(file: Any) -> None:
        as_release("1.2.2", keras_2(config, bare=True), "theano")(file)
        group = file["model_weights/conv"]
        path = group.attrs["weight_names"][0]
        path = path.decode() if isinstance(path, bytes) else path
        kernel = np.asarray(group[path])
        del group[path]
        group[path] = kernel[::-1, ::-1]

    loaded = load([hdf5(trained, tmp_path, change), b""])
    assert np.abs(answers(loaded.model) - answers(trained)).max() < 1e-6


def test_channels_first_of_keras_1(tmp_path: Path) -> None:
    """A 'th' image keeps its axes, its kernels are transposed, and flattening keeps its order."""
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((3, 9, 9)),
            layers.Conv2D(4, 3, data_format="channels_first", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(2, activation="softmax", name="last"),
        ]
    )
    first = {**_CONV_1, "name": "conv", "batch_input_shape": [None, 3, 9, 9], "dim_ordering": "th", "activation": "linear"}
    config = [
        {"class_name": "Convolution2D", "config": first},
        {"class_name": "Flatten", "config": {"name": "flat"}},
        {"class_name": "Dense", "config": {"name": "last", "output_dim": 2, "activation": "softmax"}},
    ]

    def change(file: Any) -> None:
        as_release("1.2.2", keras_2(config, bare=True))(file)
        group = file["model_weights/conv"]
        path = group.attrs["weight_names"][0]
        path = path.decode() if isinstance(path, bytes) else path
        kernel = np.asarray(group[path])
        del group[path]
        group[path] = kernel.transpose(3, 2, 0, 1)

    given = PICTURES.transpose(0, 3, 1, 2)
    loaded = load([hdf5(model, tmp_path, change), b""])
    assert np.abs(answers(loaded.model, given) - answers(model, given)).max() < 1e-6


def test_hard_sigmoid_keeps_its_slope(tmp_path: Path) -> None:
    """Keras 2's hard sigmoid is clip(x/5 + 1/2); the current function of that name differs."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, activation="hard_sigmoid", name="last")])
    config = [
        {
            "class_name": "Dense",
            "config": {"name": "last", "units": 2, "activation": "hard_sigmoid", "batch_input_shape": [None, 4]},
        }
    ]
    loaded = load([hdf5(model, tmp_path, as_release("2.2.4", keras_2(config))), b""])
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32) * 3
    kernel, bias = model.layers[-1].get_weights()
    assert np.abs(answers(loaded.model, rows) - np.clip((rows @ kernel + bias) * 0.2 + 0.5, 0, 1)).max() < 1e-6


def test_gru_resets_as_in_keras_2(tmp_path: Path) -> None:
    """A GRU without the option resets before it multiplies, as all did before Keras 2.1.5."""
    model = keras.Sequential([keras.Input((4, 3)), layers.GRU(2, reset_after=False, name="gru")])
    config = [
        {
            "class_name": "GRU",
            "config": {
                "name": "gru",
                "units": 2,
                "batch_input_shape": [None, 4, 3],
                "activation": "tanh",
                "recurrent_activation": "sigmoid",
                "implementation": 1,
            },
        }
    ]
    loaded = load([hdf5(model, tmp_path, as_release("2.1.0", keras_2(config))), b""])
    given = np.random.default_rng(0).random((5, 4, 3), dtype=np.float32)
    assert np.abs(answers(loaded.model, given) - answers(model, given)).max() < 1e-6


def test_groups_of_tensorflow_2_are_dropped(tmp_path: Path) -> None:
    """The MobileNets of TensorFlow 2 have `groups` for depthwise layers, which do not take it now."""
    model = keras.Sequential([keras.Input((9, 9, 3)), layers.DepthwiseConv2D(3, name="d")])
    config = [
        {
            "class_name": "DepthwiseConv2D",
            "config": {"name": "d", "kernel_size": [3, 3], "groups": 1, "batch_input_shape": [None, 9, 9, 3]},
        }
    ]
    loaded = load([hdf5(model, tmp_path, as_release("2.9.0", keras_2(config))), b""])
    assert np.abs(answers(loaded.model) - answers(model)).max() < 1e-6


def test_architecture_and_weights_apart(trained: Any, tmp_path: Path) -> None:
    """JSON of Keras 3 with its `.weights.h5`, and JSON of Keras 2 with weights by layer, load as the network."""
    trained.save_weights(tmp_path / "w.weights.h5")
    pair = [trained.to_json().encode(), (tmp_path / "w.weights.h5").read_bytes()]
    assert np.abs(answers(load(pair).model) - answers(trained)).max() < 1e-6
    old = hdf5(trained, tmp_path, as_release("2.0.4", keras_2(CONFIG_2)))
    architecture = json.dumps({**keras_2(CONFIG_2, bare=True), "keras_version": "2.0.4", "backend": "tensorflow"}).encode()
    loaded = load([architecture, old])
    assert loaded.release == "2.0.4"
    assert np.abs(answers(loaded.model) - answers(trained)).max() < 1e-6
    with pytest.raises(InvalidOptionsError, match="--weights FILE"):
        load([architecture, b""])


def test_keras_3_files(trained: Any, tmp_path: Path) -> None:
    """`.keras` and HDF5 of the current release predict as the network; a loss for logits is read from both."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="last")])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        loaded = load([(tmp_path / name).read_bytes(), b""])
        assert loss_kind(loaded.loss) == "logits"
        assert loaded.release == keras.__version__
        trained.save(tmp_path / name)
        loaded = load([(tmp_path / name).read_bytes(), b""])
        assert loss_kind(loaded.loss) == "probabilities"
        assert np.abs(answers(loaded.model) - answers(trained)).max() < 1e-6


def architecture_file(config: Any, release: str = "2.3.0") -> bytes:
    """An architecture in HDF5 without weights: it is rejected before they are read."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.create_group("model_weights")
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        file.attrs["keras_version"] = release
    return out.getvalue()


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"class_name": "Lambda", "config": {"function": ["4wEAAAAAAAAA", None, None]}}, "a Lambda layer, which is a program"),
        ({"class_name": "AttentionOfMine", "config": {}}, "uses AttentionOfMine, whose code is not in the file"),
        ({"class_name": "TFOpLambda", "config": {"function": "math.add"}}, "TensorFlow's own operations"),
        ({"class_name": "Merge", "config": {"mode": "concat"}}, "Keras 1's Merge layer"),
        ({"class_name": "BatchNormalization", "config": {"mode": 2}}, "a mode that no release since knows"),
        ({"class_name": "Convolution2D", "config": {"border_mode": "full"}}, "border_mode 'full'"),
        (
            {"class_name": "Dense", "module": "mine.layers", "registered_name": "mine>Dense", "config": {"units": 2}},
            "uses Dense, whose code is not in the file",
        ),
    ],
)
def test_code_and_custom_layers_are_rejected(layer: dict[str, Any], words: str) -> None:
    """A Lambda, a custom layer, or one that no current release has is named, with the alternative."""
    release = "1.2.0" if "mode" in layer["config"] or "border_mode" in layer["config"] else "2.3.0"
    with pytest.raises(ConversionError, match=words):
        load([architecture_file(keras_2([layer]), release), b""])


def test_a_lambda_in_a_keras_3_file_is_rejected(tmp_path: Path) -> None:
    """Lambdas are rejected in the zip too, also as an argument of another layer."""
    model = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda numbers: numbers * 2)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ConversionError, match="a Lambda layer"):
        load([(tmp_path / "m.keras").read_bytes(), b""])
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation=lambda numbers: numbers * 2)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ConversionError, match="a program inside the file"):
        load([(tmp_path / "m.keras").read_bytes(), b""])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 200, "damaged HDF5"),
        (architecture_file("{"), "no JSON"),
        (architecture_file({"class_name": "Sequential"}), "none that Keras writes"),
        (architecture_file(keras_2(CONFIG_2)), "do not fit its architecture|cannot load it"),
    ],
)
def test_broken_files_are_rejected(data: bytes, words: str) -> None:
    """Truncated files and files of random bytes are rejected."""
    with pytest.raises(ConversionError, match=words):
        load([data, b""])


def test_weights_alone_require_the_architecture(trained: Any, tmp_path: Path) -> None:
    """For an HDF5 file without architecture the error names what is missing and how to give it."""

    def change(file: Any) -> None:
        del file.attrs["model_config"]

    with pytest.raises(InvalidOptionsError, match="this file has only weights"):
        load([hdf5(trained, tmp_path, change), b""])


def test_an_oversized_zip_is_rejected() -> None:
    """The size that the zip declares for its architecture is checked before it is unpacked."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (65 * 2**20))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ConversionError, match=r"its config.json is larger than any network's"):
        load([out.getvalue(), b""])


def test_a_decompression_bomb_is_rejected(tmp_path: Path, trained: Any) -> None:
    """Weights that unpack to a hundred times their size, in a zip or declared by HDF5, are rejected."""
    trained.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part + bytes(100 * 2**20) if name.endswith(".h5") else part)
    with pytest.raises(ConversionError, match=r"would unpack from .* which no network's weights do; --max-memory allows more"):
        load([(tmp_path / "bomb.keras").read_bytes(), b""])
    trained.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file.create_dataset("model_weights/promise", shape=(10**9,), dtype="f4", chunks=(2**16,))
    with pytest.raises(ConversionError, match="would unpack from"):
        load([(tmp_path / "m.h5").read_bytes(), b""])
