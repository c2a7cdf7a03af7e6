"""Architectures of Keras 1 and 2 in the words of today, layer by layer; where a word kept its name and changed its meaning, too.

    config of 1.x ─ arguments renamed ─┐
    config of 2.x ─────────────────────┴─ what only training needs left out ─ changed meanings undone ─► config of today

What changed its meaning since: `hard_sigmoid` (its slope), GRU's `reset_after`, the order of a Theano kernel. A layer that no
release since knows is refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: The activation of Keras 1 and 2, under a name of ours: clip(0.2·x + 0.5, 0, 1), where today's has a slope of 1/6.
OLD_HARD_SIGMOID = "relevo_hard_sigmoid_of_keras_2"

#: Only training looks at these; leaving them out loads files whose initialisers nobody knows any more.
_TRAINING = frozenset(
    {
        *("init", "inner_init", "forget_bias_init", "beta_init", "gamma_init", "W_regularizer", "U_regularizer", "b_regularizer"),
        *("W_constraint", "U_constraint", "b_constraint", "dropout_W", "dropout_U", "weights", "input_dtype", "consume_less"),
        *("kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer", "activity_regularizer"),
        *("kernel_constraint", "bias_constraint", "gamma_initializer", "beta_initializer", "gamma_regularizer"),
        *("beta_regularizer", "gamma_constraint", "beta_constraint", "moving_mean_initializer", "moving_variance_initializer"),
        *("recurrent_initializer", "recurrent_regularizer", "recurrent_constraint", "depthwise_initializer"),
        *("pointwise_initializer", "depthwise_regularizer", "pointwise_regularizer", "depthwise_constraint"),
        *("pointwise_constraint", "embeddings_initializer", "embeddings_regularizer", "embeddings_constraint"),
        *("alpha_initializer", "alpha_regularizer", "alpha_constraint", "unit_forget_bias", "implementation", "time_major"),
        *("gamma_regularizer", "beta_regularizer", "running_mean_initializer", "running_variance_initializer", "renorm", "fused"),
    }
)
#: Keras 1's name for a layer: today's.
_LAYERS = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SoftmaxV1": "Softmax",
}
#: Keras 1's name for an argument: today's, in every layer.
_ARGUMENTS = {
    "output_dim": "units",
    "bias": "use_bias",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "pool_length": "pool_size",
    "stride": "strides",
    "inner_activation": "recurrent_activation",
    "atrous_rate": "dilation_rate",
    "p": "rate",
    "sigma": "stddev",
    "theta": "threshold",
    "input_dtype": "dtype",
}
_ORDERS = {"tf": "channels_last", "th": "channels_first"}
_ACTIVATIONS = {"softmax_v2": "softmax", "hard_sigmoid": OLD_HARD_SIGMOID}
_REFUSED = {
    "Merge": "it joins branches by Keras 1's Merge layer",
    "Lambda": "it has a Lambda layer, which is a program inside the file",
    "TFOpLambda": "it uses TensorFlow's own operations between its layers",
    "TensorFlowOpLayer": "it uses TensorFlow's own operations between its layers",
    "SlicingOpLambda": "it uses TensorFlow's own operations between its layers",
    "MaxoutDense": "it has Keras 1's MaxoutDense layer",
    "Highway": "it has Keras 1's Highway layer",
}
_INSTEAD = "export it to ONNX where it was made, or hand the live model to relevo.pack there"


def major(release: str) -> int:
    """The first number of "2.3.0-tf"; 1 where the file says nothing, as Keras 1 did."""
    first = release.partition(".")[0]
    return int(first) if first.isdigit() else 1


def upgrade_config(model: dict[str, Any], release: str) -> dict[str, Any]:
    """The whole architecture in the words of today. Raises ConversionError for what has none."""
    if major(release) >= 3:
        return model
    found: dict[str, Any] = _rewritten(model, major(release))
    return found


def _rewritten(thing: Any, since: int) -> Any:
    """Every layer inside, innermost last."""
    if isinstance(thing, list):
        return [_rewritten(one, since) for one in thing]
    if not isinstance(thing, dict):
        return thing
    if isinstance(thing.get("class_name"), str) and "config" in thing:
        thing = _layer(thing, since)
    return {key: _rewritten(value, since) for key, value in thing.items()}


def _layer(layer: dict[str, Any], since: int) -> dict[str, Any]:
    kind = layer["class_name"]
    if kind in _REFUSED:
        raise ConversionError(reason=f"{_REFUSED[kind]}; {_INSTEAD}")
    config = layer["config"]
    if kind == "Sequential" and isinstance(config, list):
        # Before 2.2.3 a Sequential was the bare list of its layers.
        config = {"name": layer.get("name", "sequential"), "layers": config}
    if not isinstance(config, dict):
        return layer
    if kind == "Sequential":
        config = {**config, "layers": _begun(config.get("layers", []))}
    config = {key: value for key, value in config.items() if key not in _TRAINING}
    if since == 1:
        config = _of_keras_1(kind, config)
    kind = _LAYERS.get(kind, kind)
    if kind == "ThresholdedReLU":
        return {**layer, "class_name": "ReLU", "config": {**config, "threshold": config.get("threshold", 1.0)}}
    config = _MENDED.get(kind, _as_it_is)(config)
    config.pop("batch_input_shape", None)
    for key in ("activation", "recurrent_activation"):
        if isinstance(config.get(key), str):
            config[key] = _ACTIVATIONS.get(config[key], config[key])
    return {**layer, "class_name": kind, "config": {**config, **_plain_dtype(config)}}


def _begun(layers: list[Any]) -> list[Any]:
    """The layers of a Sequential behind an input of their own; the first of them used to tell the shape of what comes in."""
    first = layers[0] if layers else None
    if not isinstance(first, dict) or first.get("class_name") == "InputLayer" or not isinstance(first.get("config"), dict):
        return layers
    shape = first["config"].get("batch_input_shape")
    if shape is None:
        return layers
    entry = {"batch_shape": shape, "dtype": _dtype_of(first["config"]), "name": "input_of_the_first_layer"}
    return [{"class_name": "InputLayer", "config": entry}, *layers]


def _dtype_of(config: dict[str, Any]) -> Any:
    if str(config.get("name", "")).startswith("embedding"):
        return "int32"
    return _plain_dtype(config).get("dtype", config.get("dtype") or config.get("input_dtype") or "float32")


def _input_layer(config: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key in ("name", "sparse", "ragged", "dtype")}
    return {**kept, "batch_shape": config.get("batch_input_shape", config.get("batch_shape"))}


def _plain_dtype(config: dict[str, Any]) -> dict[str, Any]:
    """A policy, as TensorFlow 2 wrote it, is the name of its numbers."""
    told = config.get("dtype")
    if not isinstance(told, dict):
        return {}
    name = told.get("config", {}).get("name", "float32")
    return {"dtype": "float32" if "float16" in str(name) else name}


def _of_keras_1(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Keras 1's arguments by their names of today. Raises ConversionError for those that have none."""
    config = dict(config)
    if kind == "Embedding":
        config["output_dim_kept"] = config.pop("output_dim", None)
    if "nb_row" in config:
        config["kernel_size"] = [config.pop("nb_row"), config.pop("nb_col")]
    if "kernel_dim1" in config:
        config["kernel_size"] = [config.pop(f"kernel_dim{axis}") for axis in (1, 2, 3)]
    if "dim_ordering" in config:
        config["data_format"] = _ORDERS.get(config.pop("dim_ordering"), "channels_last")
    if kind == "BatchNormalization" and config.pop("mode", 0) != 0:
        raise ConversionError(reason=f"its BatchNormalization has a mode that no release since knows; {_INSTEAD}")
    if config.get("border_mode") == "full":
        raise ConversionError(reason=f"it has a convolution with border_mode 'full', which no release since knows; {_INSTEAD}")
    # What a layer was told twice: the shape of what comes in stands in batch_input_shape.
    if kind != "Embedding":
        config.pop("input_dim", None)
        config.pop("input_length", None)
    renamed = {_ARGUMENTS.get(key, key): value for key, value in config.items()}
    if "output_dim_kept" in renamed:
        renamed["output_dim"] = renamed.pop("output_dim_kept")
    return renamed


def _as_it_is(config: dict[str, Any]) -> dict[str, Any]:
    return dict(config)


def _without_single_group(config: dict[str, Any]) -> dict[str, Any]:
    """TensorFlow 2 wrote `groups` for layers that take none."""
    return {key: value for key, value in config.items() if key != "groups" or value != 1}


def _gru(config: dict[str, Any]) -> dict[str, Any]:
    """Keras 2 left `reset_after` out while it was always false."""
    return {"reset_after": False, **config}


def _batch_normalization(config: dict[str, Any]) -> dict[str, Any]:
    axis = config.get("axis")
    kept = {key: value for key, value in config.items() if key not in ("virtual_batch_size", "adjustment")}
    return {**kept, "axis": axis[0]} if isinstance(axis, list) and len(axis) == 1 else kept


_MENDED: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "DepthwiseConv2D": _without_single_group,
    "DepthwiseConv1D": _without_single_group,
    "Conv2DTranspose": _without_single_group,
    "Conv3DTranspose": _without_single_group,
    "SeparableConv2D": _without_single_group,
    "GRU": _gru,
    "InputLayer": _input_layer,
    "BatchNormalization": _batch_normalization,
}


def refuse_custom_layers(model: Any, known: Callable[[str], bool]) -> None:
    """Pass an architecture of layers that Keras itself has.

    known: whether Keras has a layer of that name. Raises ConversionError naming a Lambda or the layers that are somebody's own.
    """
    own = set()
    for thing in _things(model):
        kind = str(thing["class_name"])
        if kind in _REFUSED or kind in ("__lambda__", "function") or thing.get("module") == "builtins":
            raise ConversionError(reason=f"{_REFUSED.get(kind, _REFUSED['Lambda'])}; {_INSTEAD}")
        module = thing.get("module")
        foreign = module is not None and str(module).partition(".")[0] not in ("keras", "tf_keras", "tensorflow")
        if foreign or thing.get("registered_name") not in (None, kind) or (thing["in_layers"] and not known(kind)):
            own.add(kind)
    if own:
        names = ", ".join(sorted("".join(sign for sign in name if sign.isprintable())[:60] for name in own)[:8])
        raise ConversionError(reason=f"it uses {names}, whose code is not in the file and not in Keras; {_INSTEAD}")


def _things(model: Any) -> Iterator[dict[str, Any]]:
    """Every object of the architecture: layers, and what is given to them as an argument."""
    waiting: list[tuple[Any, bool]] = [(model, True)]
    while waiting:
        thing, in_layers = waiting.pop()
        if isinstance(thing, list):
            waiting += [(one, in_layers) for one in thing]
        elif isinstance(thing, dict):
            if thing.keys() == {"value"}:
                # How Keras writes a lambda that is another layer's argument.
                yield {"class_name": "__lambda__", "in_layers": in_layers}
            if isinstance(thing.get("class_name"), str) and "config" in thing:
                yield {**thing, "in_layers": in_layers}
            waiting += [(value, key in ("layers", "layer") or (in_layers and key == "config")) for key, value in thing.items()]
