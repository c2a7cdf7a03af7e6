"""Upgrades architectures of Keras 1 and 2 to the current format, layer by layer, including options whose meaning changed.

    config of 1.x ─ arguments renamed ─┐
    config of 2.x ─────────────────────┴─ training-only options dropped ─ changed meanings restored ─► current config

Changed meanings: `hard_sigmoid` (its slope), GRU's `reset_after`, the order of a Theano kernel. Layers that no current release has are
rejected by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Our name for the activation of Keras 1 and 2: clip(0.2·x + 0.5, 0, 1); the current one has a slope of 1/6.
OLD_HARD_SIGMOID = "relevo_hard_sigmoid_of_keras_2"

#: Options used only in training; dropping them allows files with initialisers that no longer exist.
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
#: Layer name in Keras 1 → current name.
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
#: Argument name in Keras 1 → current name, for every layer.
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
_ALTERNATIVE = "export it to ONNX where it was made, or hand the live model to relevo.pack there"


def major(release: str) -> int:
    """The first number of "2.3.0-tf"; 1 when the file has none, as in Keras 1."""
    first = release.partition(".")[0]
    return int(first) if first.isdigit() else 1


def upgrade_config(model: dict[str, Any], release: str) -> dict[str, Any]:
    """Returns the whole architecture in the current format. Raises ConversionError for layers that have no equivalent."""
    if major(release) >= 3:
        return model
    upgraded: dict[str, Any] = _upgrade(model, major(release))
    return upgraded


def _upgrade(node: Any, since: int) -> Any:
    """Upgrades every layer, from the outside in."""
    if isinstance(node, list):
        return [_upgrade(item, since) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("class_name"), str) and "config" in node:
        node = _upgrade_layer(node, since)
    return {key: _upgrade(value, since) for key, value in node.items()}


def _upgrade_layer(layer: dict[str, Any], since: int) -> dict[str, Any]:
    kind = layer["class_name"]
    if kind in _REFUSED:
        raise ConversionError(reason=f"{_REFUSED[kind]}; {_ALTERNATIVE}")
    config = layer["config"]
    if kind == "Sequential" and isinstance(config, list):
        # Before 2.2.3 a Sequential was the bare list of its layers.
        config = {"name": layer.get("name", "sequential"), "layers": config}
    if not isinstance(config, dict):
        return layer
    if kind == "Sequential":
        config = {**config, "layers": _with_input_layer(config.get("layers", []))}
    config = {key: value for key, value in config.items() if key not in _TRAINING}
    if since == 1:
        config = _rename_keras_1(kind, config)
    kind = _LAYERS.get(kind, kind)
    if kind == "ThresholdedReLU":
        return {**layer, "class_name": "ReLU", "config": {**config, "threshold": config.get("threshold", 1.0)}}
    config = _FIXES.get(kind, _unchanged)(config)
    config.pop("batch_input_shape", None)
    for key in ("activation", "recurrent_activation"):
        if isinstance(config.get(key), str):
            config[key] = _ACTIVATIONS.get(config[key], config[key])
    return {**layer, "class_name": kind, "config": {**config, **_plain_dtype(config)}}


def _with_input_layer(layers: list[Any]) -> list[Any]:
    """Adds an InputLayer to a Sequential; in old files its first layer contains the input shape."""
    first = layers[0] if layers else None
    if not isinstance(first, dict) or first.get("class_name") == "InputLayer" or not isinstance(first.get("config"), dict):
        return layers
    shape = first["config"].get("batch_input_shape")
    if shape is None:
        return layers
    input_config = {"batch_shape": shape, "dtype": _dtype_of(first["config"]), "name": "input_of_the_first_layer"}
    return [{"class_name": "InputLayer", "config": input_config}, *layers]


def _dtype_of(config: dict[str, Any]) -> Any:
    if str(config.get("name", "")).startswith("embedding"):
        return "int32"
    return _plain_dtype(config).get("dtype", config.get("dtype") or config.get("input_dtype") or "float32")


def _input_layer(config: dict[str, Any]) -> dict[str, Any]:
    remaining = {key: value for key, value in config.items() if key in ("name", "sparse", "ragged", "dtype")}
    return {**remaining, "batch_shape": config.get("batch_input_shape", config.get("batch_shape"))}


def _plain_dtype(config: dict[str, Any]) -> dict[str, Any]:
    """Replaces a dtype policy, as TensorFlow 2 wrote it, by the name of the dtype."""
    policy = config.get("dtype")
    if not isinstance(policy, dict):
        return {}
    name = policy.get("config", {}).get("name", "float32")
    return {"dtype": "float32" if "float16" in str(name) else name}


def _rename_keras_1(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Renames Keras 1 arguments. Raises ConversionError for those without an equivalent."""
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
        raise ConversionError(reason=f"its BatchNormalization has a mode that no release since knows; {_ALTERNATIVE}")
    if config.get("border_mode") == "full":
        raise ConversionError(reason=f"it has a convolution with border_mode 'full', which no release since knows; {_ALTERNATIVE}")
    # Redundant: batch_input_shape has the input shape.
    if kind != "Embedding":
        config.pop("input_dim", None)
        config.pop("input_length", None)
    renamed = {_ARGUMENTS.get(key, key): value for key, value in config.items()}
    if "output_dim_kept" in renamed:
        renamed["output_dim"] = renamed.pop("output_dim_kept")
    return renamed


def _unchanged(config: dict[str, Any]) -> dict[str, Any]:
    return dict(config)


def _without_single_group(config: dict[str, Any]) -> dict[str, Any]:
    """Drops `groups`, which TensorFlow 2 wrote for layers that do not take it."""
    return {key: value for key, value in config.items() if key != "groups" or value != 1}


def _gru(config: dict[str, Any]) -> dict[str, Any]:
    """Keras 2 omitted `reset_after` while it was always false."""
    return {"reset_after": False, **config}


def _batch_normalization(config: dict[str, Any]) -> dict[str, Any]:
    axis = config.get("axis")
    remaining = {key: value for key, value in config.items() if key not in ("virtual_batch_size", "adjustment")}
    return {**remaining, "axis": axis[0]} if isinstance(axis, list) and len(axis) == 1 else remaining


_FIXES: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
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
    """Accepts only architectures of Keras' own layers.

    known: whether Keras has a layer of that name. Raises ConversionError naming a Lambda or the custom layers.
    """
    custom = set()
    for node in _objects(model):
        kind = str(node["class_name"])
        if kind in _REFUSED or kind in ("__lambda__", "function") or node.get("module") == "builtins":
            raise ConversionError(reason=f"{_REFUSED.get(kind, _REFUSED['Lambda'])}; {_ALTERNATIVE}")
        module = node.get("module")
        foreign = module is not None and str(module).partition(".")[0] not in ("keras", "tf_keras", "tensorflow")
        if foreign or node.get("registered_name") not in (None, kind) or (node["in_layers"] and not known(kind)):
            custom.add(kind)
    if custom:
        names = ", ".join(sorted("".join(char for char in name if char.isprintable())[:60] for name in custom)[:8])
        raise ConversionError(reason=f"it uses {names}, whose code is not in the file and not in Keras; {_ALTERNATIVE}")


def _objects(model: Any) -> Iterator[dict[str, Any]]:
    """Yields every object of the architecture: layers, and objects that are their arguments."""
    pending: list[tuple[Any, bool]] = [(model, True)]
    while pending:
        node, in_layers = pending.pop()
        if isinstance(node, list):
            pending += [(item, in_layers) for item in node]
        elif isinstance(node, dict):
            if node.keys() == {"value"}:
                # How Keras writes a lambda that is an argument of another layer.
                yield {"class_name": "__lambda__", "in_layers": in_layers}
            if isinstance(node.get("class_name"), str) and "config" in node:
                yield {**node, "in_layers": in_layers}
            pending += [(value, key in ("layers", "layer") or (in_layers and key == "config")) for key, value in node.items()]
