"""Parses XGBoost's binary format of before 2.x, which the library no longer loads, into the structure of its JSON.

    [binf] parameters (136 bytes) ─ objective ─ booster ─┬─ trees: nodes of 20 bytes, statistics of 16 ─ groups ─ drops ─┬─ attributes
                                                         └─ linear: weights ────────────────────────────────────────────┘

Up to release 0.90 the base score was stored with the inverse link applied, later without; both are returned as a margin.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from relevo.errors import ConversionError

#: Sizes in bytes: before the objective, parameters of the tree booster, of the linear booster, of a tree; a node; its statistics.
_HEAD, _GBTREE, _GBLINEAR, _TREE, _NODE, _STATISTICS = 136, 160, 136, 148, 20, 16
_MAX_COUNT = 2**28  # of any counted item
_DEFAULT_LEFT = 0x8000_0000


@dataclass(slots=True, kw_only=True)
class _Reader:
    """A read position in the bytes. Lifetime: reading of one file."""

    data: bytes
    offset: int = 0

    def take(self, size: int) -> bytes:
        """Returns the next bytes. Raises ConversionError at the end."""
        if not 0 <= size <= len(self.data) - self.offset:
            raise ConversionError(reason="the XGBoost binary is cut off or damaged")
        self.offset += size
        return self.data[self.offset - size : self.offset]

    def text(self) -> bytes:
        """Returns a text that follows its length."""
        return self.take(self.count())

    def count(self) -> int:
        """Returns a length of eight bytes."""
        number = int(struct.unpack("<Q", self.take(8))[0])
        if number > _MAX_COUNT:
            raise ConversionError(reason="the XGBoost binary is cut off or damaged")
        return number

    def numbers(self, count: int, dtype: str) -> list[Any]:
        """Returns that many numbers of a NumPy type."""
        return list(np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype).tolist())


def read_binary(data: bytes) -> dict[str, Any]:
    """Parses the model into the structure of XGBoost's JSON; the base_score is a margin, see the key "margin".

    Raises ConversionError when the file is truncated, damaged, or contains more than a model.
    """
    reader = _Reader(data=data, offset=4 if data.startswith(b"binf") else 0)
    head = struct.unpack_from("<fIiiiII", reader.take(_HEAD))
    base, features, classes, attributes, metrics, major, minor = head
    objective, booster = (reader.text().decode("ascii", "replace") for _ in range(2))
    content = _linear(reader) if booster == "gblinear" else _trees(reader, has_dropout=booster == "dart")
    if attributes:
        for _ in range(2 * reader.count()):
            reader.text()
    if objective == "count:poisson" and reader.offset < len(data):
        reader.text()
    if metrics and reader.offset < len(data):
        for _ in range(reader.count()):
            reader.text()
    if reader.offset != len(data):
        raise ConversionError(reason=f"the XGBoost binary has {len(data) - reader.offset} bytes behind its end")
    return {
        "version": [major, minor, 0] if major else [],
        "learner": {
            "learner_model_param": {
                "base_score": repr(float(base)),
                "num_class": str(classes),
                "num_feature": str(features),
                "margin": major < 1,
            },
            "objective": {"name": objective},
            "gradient_booster": {"name": booster, **content},
        },
    }


def _linear(reader: _Reader) -> dict[str, Any]:
    reader.take(_GBLINEAR)
    return {"model": {"weights": reader.numbers(reader.count(), "<f4")}}


def _trees(reader: _Reader, *, has_dropout: bool) -> dict[str, Any]:
    count = struct.unpack_from("<i", reader.take(_GBTREE))[0]
    if not 0 < count <= _MAX_COUNT:
        raise ConversionError(reason="the XGBoost binary holds no trees")
    model: dict[str, Any] = {"trees": [_tree(reader) for _ in range(count)]}
    model["tree_info"] = reader.numbers(count, "<i4")
    if not has_dropout:
        return {"model": model}
    return {"gbtree": {"model": model}, "weight_drop": reader.numbers(reader.count(), "<f4")}


def _tree(reader: _Reader) -> dict[str, Any]:
    _, nodes, _, _, _, vector = struct.unpack_from("<6i", reader.take(_TREE))
    if nodes < 1 or vector > 1:
        raise ConversionError(reason="a tree of the XGBoost binary is damaged, or its leaves hold several numbers")
    node_dtype = np.dtype([("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"), ("number", "<f4")])
    table = np.frombuffer(reader.take(nodes * _NODE), node_dtype)
    reader.take(nodes * _STATISTICS)
    return {
        "left_children": table["left"].tolist(),
        "right_children": table["right"].tolist(),
        "split_indices": (table["split"] & ~np.uint32(_DEFAULT_LEFT)).tolist(),
        "split_conditions": table["number"].tolist(),
        "default_left": (table["split"] >= _DEFAULT_LEFT).tolist(),
    }
