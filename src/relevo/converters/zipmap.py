"""Removes the ZipMap node at the end of a classifier, which turns scores into dictionaries, and returns its labels.

… ─ probabilities (n, classes) ─ ZipMap(labels) ─► list of dicts      becomes      … ─► probabilities, labels
"""

from __future__ import annotations

from typing import Any

from relevo.errors import MissingDependencyError

_OPERATOR = b"ZipMap"


def remove_zipmap(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Returns the model with plain scores and the labels of its ZipMap; the same bytes and () if there is no ZipMap.

    Raises MissingDependencyError when there is one and the onnx library is not installed.
    """
    if _OPERATOR not in data:
        return data, ()
    try:
        import onnx
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    proto = onnx.load_model_from_string(data)
    zipmaps = [node for node in proto.graph.node if node.op_type == "ZipMap"]
    if len(zipmaps) != 1:
        return data, ()
    labels = _labels(zipmaps[0])
    scores, dictionaries = zipmaps[0].input[0], zipmaps[0].output[0]
    proto.graph.node.remove(zipmaps[0])
    for output in [output for output in proto.graph.output if output.name == dictionaries]:
        proto.graph.output.remove(output)
    shape = [None, len(labels)]
    proto.graph.output.append(onnx.helper.make_tensor_value_info(scores, onnx.TensorProto.FLOAT, shape))
    return bytes(proto.SerializeToString(deterministic=True)), labels


def _labels(node: Any) -> tuple[str, ...]:
    for attribute in node.attribute:
        if attribute.name == "classlabels_strings":
            return tuple(text.decode() for text in attribute.strings)
        if attribute.name == "classlabels_int64s":
            return tuple(str(number) for number in attribute.ints)
    return ()
