"""XGBoost's binary form of before 2.x, read without XGBoost, which no longer loads it: brought to the shape of its JSON.

    [binf] parameters (136 bytes) ─ objective ─ booster ─┬─ trees: nodes of 20 bytes, figures of 16 ─ groups ─ drops ─┬─ attributes
                                                         └─ linear: weights ──────────────────────────────────────────┘

Up to release 0.90 the base score was kept after the link had been undone, later before; both come out as a margin.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from relevo.errors import ConversionError

#: Bytes before the objective, of the tree booster's and the linear one's parameters, of one tree's, of one node's, of its figures.
_HEAD, _GBTREE, _GBLINEAR, _TREE, _NODE, _FIGURES = 136, 160, 136, 148, 20, 16
_MOST = 2**28  # of anything counted
_DEFAULT_LEFT = 0x8000_0000


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Where we are in the bytes; lives while one file is read."""

    data: bytes
    at: int = 0

    def take(self, size: int) -> bytes:
        """The next bytes. Raises ConversionError at the end."""
        if not 0 <= size <= len(self.data) - self.at:
            raise ConversionError(reason="the XGBoost binary is cut off or damaged")
        self.at += size
        return self.data[self.at - size : self.at]

    def counted(self) -> bytes:
        """A text behind its length."""
        return self.take(self.count())

    def count(self) -> int:
        """A length of eight bytes."""
        number = int(struct.unpack("<Q", self.take(8))[0])
        if number > _MOST:
            raise ConversionError(reason="the XGBoost binary is cut off or damaged")
        return number

    def numbers(self, count: int, kind: str) -> list[Any]:
        """So many numbers of one of NumPy's types."""
        return list(np.frombuffer(self.take(count * np.dtype(kind).itemsize), kind).tolist())


def read_binary(data: bytes) -> dict[str, Any]:
    """The model as XGBoost's JSON would tell it; its base_score is a margin already, under "margin".

    Raises ConversionError when the file is cut off, damaged, or holds more than a model.
    """
    reader = _Reader(data=data, at=4 if data.startswith(b"binf") else 0)
    head = struct.unpack_from("<fIiiiII", reader.take(_HEAD))
    base, features, classes, attributes, metrics, major, minor = head
    objective, booster = (reader.counted().decode("ascii", "replace") for _ in range(2))
    inside = _linear(reader) if booster == "gblinear" else _trees(reader, dropped=booster == "dart")
    if attributes:
        for _ in range(2 * reader.count()):
            reader.counted()
    if objective == "count:poisson" and reader.at < len(data):
        reader.counted()
    if metrics and reader.at < len(data):
        for _ in range(reader.count()):
            reader.counted()
    if reader.at != len(data):
        raise ConversionError(reason=f"the XGBoost binary has {len(data) - reader.at} bytes behind its end")
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
            "gradient_booster": {"name": booster, **inside},
        },
    }


def _linear(reader: _Reader) -> dict[str, Any]:
    reader.take(_GBLINEAR)
    return {"model": {"weights": reader.numbers(reader.count(), "<f4")}}


def _trees(reader: _Reader, *, dropped: bool) -> dict[str, Any]:
    count = struct.unpack_from("<i", reader.take(_GBTREE))[0]
    if not 0 < count <= _MOST:
        raise ConversionError(reason="the XGBoost binary holds no trees")
    model: dict[str, Any] = {"trees": [_tree(reader) for _ in range(count)]}
    model["tree_info"] = reader.numbers(count, "<i4")
    if not dropped:
        return {"model": model}
    return {"gbtree": {"model": model}, "weight_drop": reader.numbers(reader.count(), "<f4")}


def _tree(reader: _Reader) -> dict[str, Any]:
    _, nodes, _, _, _, vector = struct.unpack_from("<6i", reader.take(_TREE))
    if nodes < 1 or vector > 1:
        raise ConversionError(reason="a tree of the XGBoost binary is damaged, or its leaves hold several numbers")
    kinds = np.dtype([("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"), ("number", "<f4")])
    table = np.frombuffer(reader.take(nodes * _NODE), kinds)
    reader.take(nodes * _FIGURES)
    return {
        "left_children": table["left"].tolist(),
        "right_children": table["right"].tolist(),
        "split_indices": (table["split"] & ~np.uint32(_DEFAULT_LEFT)).tolist(),
        "split_conditions": table["number"].tolist(),
        "default_left": (table["split"] >= _DEFAULT_LEFT).tolist(),
    }
