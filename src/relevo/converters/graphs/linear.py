"""Plain linear models as a graph of our own: double precision from end to end, so that nothing is rounded on the way.

features (n, f) ─ MatMul(coef) ─ Add(intercept) ─► margins ─ Sigmoid | Softmax | nothing ─► scores (n, columns)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import MissingDependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Models whose answer is their margin and nothing more, or one of the links below.
_LOGISTIC = ("LogisticRegression", "LogisticRegressionCV")
_LINEAR = ("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "LinearSVR", "BayesianRidge")
#: Each class asked by itself, and the answers brought to a sum of one.
ONE_AGAINST_REST = "one against the rest"
#: Opset 17 is read by every ONNX Runtime we take, IR 8 goes with it.
OPSET, IR = 17, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A linear model's numbers; lives as long as one conversion."""

    coef: NDArray[np.float64]  # (features, columns)
    intercept: NDArray[np.float64]  # (columns,)
    link: str  # "Sigmoid", "Softmax", "Exp", ONE_AGAINST_REST or "" for none
    skips_missing: bool = False  # whether NaN adds nothing, as in XGBoost's linear booster


def read_linear(model: Any) -> Linear | None:
    """The numbers of a plain linear model; None when it is of another kind."""
    name = type(model).__name__
    if name not in (*_LOGISTIC, *_LINEAR) or not hasattr(model, "coef_"):
        return None
    coef = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64).ravel(), (coef.shape[1],))
    link = ""
    if name in _LOGISTIC:
        several = coef.shape[1] > 1
        link = "Sigmoid" if not several else ONE_AGAINST_REST if _one_against_rest(model) else "Softmax"
        if not several and getattr(model, "multi_class", "auto") == "multinomial":
            # Softmax of the margin and its negative: the sigmoid of twice the margin.
            coef, intercept = 2.0 * coef, 2.0 * intercept
    return Linear(coef=coef, intercept=np.array(intercept), link=link)


def _one_against_rest(model: Any) -> bool:
    # "warn" was the default of 0.20 and 0.21, and meant this.
    return getattr(model, "multi_class", "auto") in ("ovr", "warn") or getattr(model, "solver", "") == "liblinear"


def write_linear(linear: Linear, *, input: str, output: str) -> Any:  # noqa: A002 - ONNX's own words; a ModelProto
    """The model over one float64 tensor (n, features), as an onnx.ModelProto. Raises MissingDependencyError without the onnx library."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    names = ["margins" if linear.link else output]
    at = "known" if linear.skips_missing else input
    nodes = _known(input, at) if linear.skips_missing else []
    nodes += [
        helper.make_node("MatMul", [at, "coef"], ["products"], name="model/0"),
        helper.make_node("Add", ["products", "intercept"], names, name="model/1"),
    ]
    if linear.link == ONE_AGAINST_REST:
        nodes += [
            # By logarithms: far out every sigmoid is nothing, and nothing by nothing is no number.
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
            *([numpy_helper.from_array(np.array(1.0), "one")] if linear.link == ONE_AGAINST_REST else []),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="relevo", ir_version=IR)


def _known(source: str, known: str) -> list[Any]:
    """Nodes that put zero for NaN."""
    from onnx import helper

    return [
        helper.make_node("IsNaN", [source], ["absent"], name="model/absent"),
        helper.make_node("Where", ["absent", "nothing", source], [known], name="model/known"),
    ]
