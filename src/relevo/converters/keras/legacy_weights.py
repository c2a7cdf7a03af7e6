"""Rearranges weights of Keras 1 and Theano to the current order before they are loaded.

    (out, in, rows, columns) of 'th' ─► (rows, columns, in, out)          kernel rotated by 180° ─► as it is applied now

Theano convolves, TensorFlow correlates: the same kernel is stored rotated. Everything else has kept its order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose")
#: Layers whose arrays Keras 1 stored gate by gate.
_GATES = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM2D", "Bidirectional")


def rearrange(model: Any, group: Any, *, keras: int, theano: bool) -> None:
    """Changes the arrays of a file that is open in memory. Raises ConversionError for layers with an unknown array format."""
    if keras >= 2 and not theano:
        return
    names = [_text(name) for name in group.attrs.get("layer_names", ())]
    saved = [name for name in names if len(group[name].attrs.get("weight_names", ()))]
    layers = [layer for layer in model.layers if layer.weights]
    for name, layer in zip(saved, layers, strict=False):
        kind = type(layer).__name__
        if keras == 1 and kind in _GATES:
            raise ConversionError(reason=f"it is a {kind} of Keras 1, whose weights are kept gate by gate; save it with Keras 2")
        if kind in _CONVOLUTIONS:
            path = _text(group[name].attrs["weight_names"][0])
            kernel = np.asarray(group[name][path])
            del group[name][path]
            group[name][path] = _kernel(kernel, layer, keras_1=keras == 1, theano=theano)


def _kernel(kernel: NDArray[Any], layer: Any, *, keras_1: bool, theano: bool) -> NDArray[Any]:
    shape = tuple(layer.weights[0].shape)
    axes = len(shape) - 2
    if keras_1 and type(layer).__name__ == "Conv1D" and kernel.ndim == 4:
        kernel = kernel[:, 0] if kernel.shape[1] == 1 else kernel[..., 0].transpose(2, 1, 0)
    elif keras_1 and layer.data_format == "channels_first" and kernel.shape != shape:
        kernel = kernel.transpose(*range(2, 2 + axes), 1, 0)
    if theano:
        kernel = kernel[tuple(slice(None, None, -1) for _ in range(axes))]
    return np.ascontiguousarray(kernel)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
