"""Rows and boosters for the tests: small models trained here, strangers' files where RELEVO_TEST_DATA has them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from relevo.converters.graphs.linear import Linear, write_linear
from relevo.converters.graphs.trees import Ensemble, write_ensemble

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(os.environ.get("RELEVO_TEST_DATA", "../shared/data")) / "models"
LEAVES = DATA / "leaves"
strangers = pytest.mark.skipif(not LEAVES.is_dir(), reason="the strangers' models (RELEVO_TEST_DATA) are not here")


def table(rows: int = 300, *, seed: int = 0) -> NDArray[np.float64]:
    """Five columns: four of numbers with gaps, the last of six categories."""
    draw = np.random.default_rng(seed)
    made = np.round(draw.normal(size=(rows, 5)), 2)
    made[draw.random(made.shape) < 0.1] = np.nan
    made[:, 4] = draw.integers(0, 6, rows)
    return made


def two(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Two classes that hang on a number and on whether the category is odd."""
    return (np.nan_to_num(rows[:, 0]) + rows[:, 4] % 2 > 0.5).astype(np.int64)


def three(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Three classes."""
    return np.digitize(np.nan_to_num(rows[:, 0]) + rows[:, 4] % 2, [0.0, 1.0]).astype(np.int64)


def values(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """A positive number."""
    number: NDArray[np.float64] = np.exp(np.nan_to_num(rows[:, 0])) + rows[:, 4]
    return number


def numbers(name: str) -> NDArray[np.float64]:
    """A file of numbers between blanks or commas."""
    return np.array([line.replace(",", " ").split() for line in (LEAVES / name).read_text().splitlines()], dtype=np.float64)


def sparse(name: str, width: int) -> NDArray[np.float64]:
    """A LIBSVM file as a matrix with NaN where nothing stands."""
    lines = (LEAVES / name).read_text().splitlines()
    made = np.full((len(lines), width), np.nan)
    for row, line in enumerate(lines):
        for cell in line.split()[1:]:
            at, _, value = cell.partition(":")
            made[row, int(at)] = float(value)
    return made


def answered(body: Ensemble | Linear, rows: NDArray[np.float64], *, places: bool = False) -> NDArray[Any]:
    """What our graph says to the rows; with `places`, in which leaf each tree put them, counted over all trees."""
    if isinstance(body, Linear):
        proto = write_linear(body, input="features", output="scores")
    else:
        proto = write_ensemble(body, width=rows.shape[1], input="features", output="scores")
    if places:
        proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("rows", TensorProto.INT64, [None, None]))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    said: NDArray[Any] = session.run(None, {"features": rows})[0]
    return said


def in_tree(places: NDArray[np.int64], body: Ensemble) -> NDArray[np.int64]:
    """The same leaves counted within each tree, (n, trees)."""
    sizes = [int((tree.left < 0).sum()) for tree in body.trees]
    counted: NDArray[np.int64] = places - np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return counted
