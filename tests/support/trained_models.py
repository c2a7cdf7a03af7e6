"""Test data for boosters: small models trained here, and third-party model files if RELEVO_TEST_DATA has them."""

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
requires_model_files = pytest.mark.skipif(not LEAVES.is_dir(), reason="the third-party models (RELEVO_TEST_DATA) are missing")


def feature_table(rows: int = 300, *, seed: int = 0) -> NDArray[np.float64]:
    """Five columns: four of numbers with missing values, the last with six categories."""
    draw = np.random.default_rng(seed)
    columns = np.round(draw.normal(size=(rows, 5)), 2)
    columns[draw.random(columns.shape) < 0.1] = np.nan
    columns[:, 4] = draw.integers(0, 6, rows)
    return columns


def binary_target(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Two classes that depend on a number and on whether the category is odd."""
    return (np.nan_to_num(rows[:, 0]) + rows[:, 4] % 2 > 0.5).astype(np.int64)


def three_class_target(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Three classes that depend on the same columns."""
    return np.digitize(np.nan_to_num(rows[:, 0]) + rows[:, 4] % 2, [0.0, 1.0]).astype(np.int64)


def positive_target(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """A positive number."""
    number: NDArray[np.float64] = np.exp(np.nan_to_num(rows[:, 0])) + rows[:, 4]
    return number


def read_numbers(name: str) -> NDArray[np.float64]:
    """Reads a file of numbers separated by blanks or commas."""
    return np.array([line.replace(",", " ").split() for line in (LEAVES / name).read_text().splitlines()], dtype=np.float64)


def read_libsvm(name: str, width: int) -> NDArray[np.float64]:
    """Reads a LIBSVM file as a matrix with NaN for absent entries."""
    lines = (LEAVES / name).read_text().splitlines()
    matrix = np.full((len(lines), width), np.nan)
    for row, line in enumerate(lines):
        for cell in line.split()[1:]:
            column, _, value = cell.partition(":")
            matrix[row, int(column)] = float(value)
    return matrix


def graph_output(body: Ensemble | Linear, rows: NDArray[np.float64], *, leaves: bool = False) -> NDArray[Any]:
    """Output of our graph for the rows; with `leaves`, the leaf of each tree, counted over all trees."""
    if isinstance(body, Linear):
        proto = write_linear(body, input="features", output="scores")
    else:
        proto = write_ensemble(body, width=rows.shape[1], input="features", output="scores")
    if leaves:
        proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("rows", TensorProto.INT64, [None, None]))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    output: NDArray[Any] = session.run(None, {"features": rows})[0]
    return output


def leaf_in_tree(leaves: NDArray[np.int64], body: Ensemble) -> NDArray[np.int64]:
    """The same leaves counted within each tree, (n, trees)."""
    sizes = [int((tree.left < 0).sum()) for tree in body.trees]
    within_tree: NDArray[np.int64] = leaves - np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return within_tree
