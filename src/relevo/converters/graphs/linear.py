"""Exports plain linear models to ONNX in double precision, so that no intermediate result is rounded.

features (n, f) ─ MatMul(coef) ─ Add(intercept) ─► margins ─ Sigmoid | Softmax | none ─► scores (n, columns)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import MissingDependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Models whose prediction is the margin, or one of the links below applied to it.
_LOGISTIC = ("LogisticRegression", "LogisticRegressionCV")
_LINEAR = ("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "LinearSVR", "BayesianRidge")
#: One-vs-rest: a sigmoid for each class, normalised to a sum of one.
ONE_VS_REST = "one against the rest"
#: Opset 17 is supported by every allowed ONNX Runtime; IR 8 belongs to it.
OPSET, IR = 17, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Coefficients of a linear model. Lifetime: one conversion."""

    coef: NDArray[np.float64]  # (features, columns)
    intercept: NDArray[np.float64]  # (columns,)
    link: str  # "Sigmoid", "Softmax", "Exp", ONE_AGAINST_REST or "" for none
    skips_missing: bool = False  # whether NaN counts as zero, as in XGBoost's linear booster


def read_linear(model: Any) -> Linear | None:
    """Reads the coefficients of a plain linear model; None for other models."""
    name = type(model).__name__
    if name not in (*_LOGISTIC, *_LINEAR) or not hasattr(model, "coef_"):
        return None
    coef = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64).ravel(), (coef.shape[1],))
    link = ""
    if name in _LOGISTIC:
        is_multiclass = coef.shape[1] > 1
        link = "Sigmoid" if not is_multiclass else ONE_VS_REST if _is_one_vs_rest(model) else "Softmax"
        if not is_multiclass and getattr(model, "multi_class", "auto") == "multinomial":
            # Softmax of the margin and its negative: the sigmoid of twice the margin.
            coef, intercept = 2.0 * coef, 2.0 * intercept
    return Linear(coef=coef, intercept=np.array(intercept), link=link)


def _is_one_vs_rest(model: Any) -> bool:
    # "warn" was the default of 0.20 and 0.21, and meant one-vs-rest.
    return getattr(model, "multi_class", "auto") in ("ovr", "warn") or getattr(model, "solver", "") == "liblinear"


def write_linear(linear: Linear, *, input: str, output: str) -> Any:  # noqa: A002 - ONNX's names; a ModelProto
    """Exports the model over one float64 tensor (n, features) as an onnx.ModelProto. Raises MissingDependencyError without onnx."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    names = ["margins" if linear.link else output]
    source = "known" if linear.skips_missing else input
    nodes = _nan_to_zero(input, source) if linear.skips_missing else []
    nodes += [
        helper.make_node("MatMul", [source, "coef"], ["products"], name="model/0"),
        helper.make_node("Add", ["products", "intercept"], names, name="model/1"),
    ]
    if linear.link == ONE_VS_REST:
        nodes += [
            # In logarithms: for very negative margins all sigmoids are 0, and 0/0 is NaN.
            helper.make_node("Abs", names, ["size"]),
            helper.make_node("Neg", ["size"], ["shrinking"]),
            helper.make_node("Exp", ["shrinking"], ["small"]),
            helper.make_node("Add", ["small", "one"], ["above"]),
            helper.make_node("Log", ["above"], ["near"]),
            helper.make_node("Neg", names, ["turned"]),
            helper.make_node("Relu", ["turned"], ["far"]),
            helper.make_node("Add", ["near", "far"], ["lost"]),
            helper.make_node("Neg", ["lost"], ["each"]),
            helper.make_node("Softmax", ["each"], [output]),
        ]
    elif linear.link:
        nodes.append(helper.make_node(linear.link, names, [output], name="model/2"))
    features, columns = linear.coef.shape
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(input, TensorProto.DOUBLE, [None, features])],
        [helper.make_tensor_value_info(output, TensorProto.DOUBLE, [None, columns])],
        [
            numpy_helper.from_array(linear.coef, "coef"),
            numpy_helper.from_array(linear.intercept, "intercept"),
            *([numpy_helper.from_array(np.array(0.0), "nothing")] if linear.skips_missing else []),
            *([numpy_helper.from_array(np.array(1.0), "one")] if linear.link == ONE_VS_REST else []),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="relevo", ir_version=IR)


def _nan_to_zero(source: str, known: str) -> list[Any]:
    """Nodes that replace NaN by zero."""
    from onnx import helper

    return [
        helper.make_node("IsNaN", [source], ["absent"], name="model/absent"),
        helper.make_node("Where", ["absent", "nothing", source], [known], name="model/known"),
    ]
