"""Exports decision trees and ensembles to ONNX, with every comparison and sum exactly as in scikit-learn.

    features ─ (to float32) ─ TreeEnsemble: leaf index ─ Gather(leaf values) ─ sum ─ ÷ n | + base ─ link ─► scores

The operator computes only the leaf index; leaf values are looked up in double precision. So ties between classes remain ties, and no
rounded threshold sends a row to another leaf.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.graphs.derived_features import derive_columns
from relevo.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from relevo.converters.graphs.derived_features import DerivedColumns

#: Opset that introduced the operator TreeEnsemble; ONNX Runtime supports it from 1.20 on.
_TREE_OPSET, _OPSET, _IR = 5, 17, 8
_LESS_OR_EQUAL, _LESS = 0, 1
#: Links of boosted models in scikit-learn; other models are left to skl2onnx. XGBoost and LightGBM have more links.
_SIGMOID, _SOFTMAX, _NONE = "Sigmoid", "Softmax", ""
#: Links without an ONNX operator in double precision: x · |x|, and ln(1 + eˣ).
SIGNED_SQUARE, SOFTPLUS = "signed square", "softplus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree as arrays over its nodes, the root first. Lifetime: one conversion."""

    left: NDArray[np.int64]  # (nodes,), child when the feature is at most the threshold; < 0 in a leaf
    right: NDArray[np.int64]  # (nodes,)
    feature: NDArray[np.int64]  # (nodes,)
    threshold: NDArray[np.float64]  # (nodes,)
    missing_left: NDArray[np.bool_]  # (nodes,), where NaN goes
    values: NDArray[np.float64]  # (nodes, columns), leaf values


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Trees, and how their leaf values become scores. Lifetime: one conversion."""

    trees: tuple[Tree, ...]
    base: NDArray[np.float64]  # (columns,), added to the sum
    divisor: float  # the sum is divided by it
    link: str
    single: bool  # whether the model itself rounds its input to single precision
    strict: bool = False  # whether a feature equal to the threshold goes right
    absent: float | None = None  # a number that counts as missing, in addition to NaN
    derived: DerivedColumns | None = None  # columns appended to the model's own


def read_ensemble(model: Any) -> Ensemble | None:
    """Reads the trees of a scikit-learn model; None for other models, and for those that cannot be exported exactly."""
    name = type(model).__name__
    if name in ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"):
        return _averaged(model, [model])
    if name in ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"):
        return _averaged(model, model.estimators_)
    if name in ("GradientBoostingClassifier", "GradientBoostingRegressor"):
        return _boosted(model)
    if name in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
        return _histogram_boosted(model)
    return None


def _averaged(model: Any, members: Sequence[Any]) -> Ensemble | None:
    if getattr(model, "n_outputs_", 1) != 1:
        return None
    shares = hasattr(model, "classes_")
    trees = tuple(_tree(member.tree_, shares=shares) for member in members)
    columns = trees[0].values.shape[1]
    return Ensemble(trees=trees, base=np.zeros(columns), divisor=float(len(trees)), link=_NONE, single=True)


def _tree(tree: Any, *, shares: bool) -> Tree:
    values = np.asarray(tree.value[:, 0, :], dtype=np.float64)
    if shares:
        # Releases before 1.3 stored counts here, later ones shares.
        totals = values.sum(axis=1, keepdims=True)
        values = values / np.where(totals == 0, 1.0, totals)
    leaf = tree.children_left < 0
    missing = getattr(tree, "missing_go_to_left", np.zeros(len(leaf), dtype=bool))
    return Tree(
        left=np.where(leaf, -1, tree.children_left).astype(np.int64),
        right=np.where(leaf, -1, tree.children_right).astype(np.int64),
        feature=np.where(leaf, 0, tree.feature).astype(np.int64),
        threshold=np.where(leaf, 0.0, tree.threshold).astype(np.float64),
        missing_left=np.asarray(missing, dtype=bool),
        values=values,
    )


def _boosted(model: Any) -> Ensemble | None:
    loss = str(getattr(model, "loss", ""))
    classifier = hasattr(model, "classes_")
    if (classifier and loss not in ("log_loss", "deviance")) or not _constant_start(model):
        return None
    stages, columns = model.estimators_.shape
    base = np.asarray(model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32)), dtype=np.float64)[0]  # noqa: SLF001 - no public access
    trees = [
        _scaled_column(_tree(model.estimators_[stage, column].tree_, shares=False), column, columns, model.learning_rate)
        for stage in range(stages)
        for column in range(columns)
    ]
    return Ensemble(trees=tuple(trees), base=base, divisor=1.0, link=_link(columns, classifier=classifier), single=True)


def _constant_start(model: Any) -> bool:
    start = getattr(model, "init_", None)
    return hasattr(model, "_raw_predict_init") and (isinstance(start, str) or type(start).__name__.startswith("Dummy"))


def _link(columns: int, *, classifier: bool) -> str:
    if not classifier:
        return _NONE
    return _SIGMOID if columns == 1 else _SOFTMAX


def _scaled_column(tree: Tree, column: int, columns: int, rate: float) -> Tree:
    values = np.zeros((len(tree.left), columns))
    values[:, column] = rate * tree.values[:, 0]
    return Tree(
        left=tree.left,
        right=tree.right,
        feature=tree.feature,
        threshold=tree.threshold,
        missing_left=tree.missing_left,
        values=values,
    )


def _histogram_boosted(model: Any) -> Ensemble | None:
    classifier = hasattr(model, "classes_")
    is_supported = (
        str(model.loss) == "log_loss" if classifier else str(model.loss) in ("squared_error", "absolute_error", "quantile")
    )
    if not is_supported or getattr(model, "_preprocessor", None) is not None:
        return None
    columns = len(model._predictors[0])  # noqa: SLF001 - no public access
    nodes = [(column, member.nodes) for stage in model._predictors for column, member in enumerate(stage)]  # noqa: SLF001 - no public access
    if any("is_categorical" in table.dtype.names and table["is_categorical"].any() for _, table in nodes):
        return None
    base = np.broadcast_to(np.asarray(model._baseline_prediction, dtype=np.float64).ravel(), (columns,))  # noqa: SLF001 - no public access
    trees = tuple(_scaled_column(_histogram_tree(table), column, columns, 1.0) for column, table in nodes)
    return Ensemble(trees=trees, base=base, divisor=1.0, link=_link(columns, classifier=classifier), single=False)


def _histogram_tree(nodes: Any) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]).astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"].astype(np.float64)[:, None],
    )


def renumber_features(trees: Sequence[Tree], columns: NDArray[np.int64]) -> tuple[Tree, ...]:
    """Returns the trees with feature c replaced by `columns[c]`."""
    return tuple(replace(tree, feature=columns[tree.feature]) for tree in trees)


def write_ensemble(ensemble: Ensemble, *, width: int, input: str, output: str) -> Any:  # noqa: A002 - ONNX's words; a ModelProto
    """Exports the ensemble over one float64 tensor (n, width) as an onnx.ModelProto. Raises MissingDependencyError without onnx."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    dtype = np.float32 if ensemble.single else np.float64
    table = np.concatenate([tree.values[tree.left < 0] for tree in ensemble.trees])
    constants = {"leaves": table, "divisor": np.array(ensemble.divisor), "base": np.array(ensemble.base)}
    last = "raw" if ensemble.link else output
    before, input_constants = _preprocessing_nodes(ensemble, dtype, input)
    constants |= input_constants
    nodes = [
        *before,
        _tree_node(ensemble, dtype),
        helper.make_node("Cast", ["places"], ["rows"], to=TensorProto.INT64),
        helper.make_node("Gather", ["leaves", "rows"], ["said"], axis=0),
        helper.make_node("ReduceSum", ["said", "axis"], ["summed"], keepdims=0),
        helper.make_node("Div", ["summed", "divisor"], ["averaged"]),
        helper.make_node("Add", ["averaged", "base"], [last]),
    ]
    nodes += _link_nodes(ensemble.link, last, output)
    constants |= {"one": np.array(1.0)} if ensemble.link == SOFTPLUS else {}
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(input, TensorProto.DOUBLE, [None, width])],
        [helper.make_tensor_value_info(output, TensorProto.DOUBLE, [None, table.shape[1]])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()]
        + [numpy_helper.from_array(np.array([1], dtype=np.int64), "axis")],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _TREE_OPSET)]
    return helper.make_model(graph, opset_imports=opsets, producer_name="relevo", ir_version=_IR)


def _link_nodes(link: str, raw: str, output: str) -> list[Any]:
    from onnx import helper

    if link == SIGNED_SQUARE:
        return [helper.make_node("Abs", [raw], ["size"]), helper.make_node("Mul", [raw, "size"], [output])]
    if link == SOFTPLUS:
        operators = (("Exp", [raw], "power"), ("Add", ["power", "one"], "more"), ("Log", ["more"], output))
        return [helper.make_node(operator, inputs, [result]) for operator, inputs, result in operators]
    return [helper.make_node(link, [raw], [output])] if link else []


def _preprocessing_nodes(ensemble: Ensemble, dtype: Any, source: str) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """Nodes from the input to the compared values: rounded as in the model, missing as NaN, derived columns appended."""
    from onnx import helper

    before: list[Any] = []
    constants: dict[str, NDArray[Any]] = {}
    current = "cast" if ensemble.derived or ensemble.absent is not None else "compared"
    before.append(helper.make_node("Cast", [source], [current], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))
    if ensemble.absent is not None:
        target = "present" if ensemble.derived else "compared"
        constants |= {"absent/value": np.array(ensemble.absent, dtype), "absent/nan": np.array(np.nan, dtype)}
        before.append(helper.make_node("Equal", [current, "absent/value"], ["absent"]))
        before.append(helper.make_node("Where", ["absent", "absent/nan", current], [target]))
        current = target
    if ensemble.derived:
        nodes, derived_constants = derive_columns(ensemble.derived, dtype, input=current, output="compared")
        return [*before, *nodes], constants | derived_constants
    return before, constants


def _tree_node(ensemble: Ensemble, dtype: Any) -> Any:
    """The operator that computes each row's leaf: target t is tree t, the weight of a leaf is its row in the table of leaf values."""
    from onnx import helper, numpy_helper

    flat = _FlatTrees()
    for number, tree in enumerate(ensemble.trees):
        flat.append(tree, number)
    splits = np.array(flat.splits, dtype=np.float64)
    return helper.make_node(
        "TreeEnsemble",
        ["compared"],
        ["places"],
        domain="ai.onnx.ml",
        n_targets=len(ensemble.trees),
        aggregate_function=1,
        post_transform=0,
        tree_roots=flat.roots,
        nodes_featureids=flat.features,
        nodes_truenodeids=flat.true_ids,
        nodes_falsenodeids=flat.false_ids,
        nodes_trueleafs=flat.true_leafs,
        nodes_falseleafs=flat.false_leafs,
        nodes_missing_value_tracks_true=flat.missing,
        nodes_splits=numpy_helper.from_array(_round_down(splits) if dtype is np.float32 else splits),
        nodes_modes=numpy_helper.from_array(np.full(len(splits), _LESS if ensemble.strict else _LESS_OR_EQUAL, dtype=np.uint8)),
        leaf_targetids=flat.targets,
        leaf_weights=numpy_helper.from_array(np.array(flat.leaf_rows, dtype=dtype)),
    )


def _round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest single-precision number not above each threshold: x ≤ t holds for the same single-precision x."""
    nearest = thresholds.astype(np.float32)
    above = nearest.astype(np.float64) > thresholds
    return np.where(above, np.nextafter(nearest, np.float32(-np.inf)), nearest).astype(np.float32)


class _FlatTrees:
    """The node lists of all trees, concatenated. Lifetime: writing of one operator."""

    def __init__(self) -> None:
        self.roots: list[int] = []
        self.features: list[int] = []
        self.splits: list[float] = []
        self.true_ids: list[int] = []
        self.false_ids: list[int] = []
        self.true_leafs: list[int] = []
        self.false_leafs: list[int] = []
        self.missing: list[int] = []
        self.targets: list[int] = []
        self.leaf_rows: list[int] = []
        self._leaf_offset = 0  # leaves of the trees appended so far: rows of the table

    def append(self, tree: Tree, number: int) -> None:
        """Appends one tree's splits and leaves."""
        inner = np.flatnonzero(tree.left >= 0)
        split_of = {int(node): len(self.splits) + index for index, node in enumerate(inner)}
        leaf_of = {int(node): len(self.leaf_rows) + index for index, node in enumerate(np.flatnonzero(tree.left < 0))}
        self.roots.append(len(self.splits))
        for node in inner.tolist():
            self._split(tree, node, split_of, leaf_of)
        if not len(inner):
            # A tree without splits: the operator requires one, so both branches lead to the only leaf.
            self._append(0, 0.0, (0, leaf_of[0], 1), (0, leaf_of[0], 1))
        self.targets += [number] * len(leaf_of)
        self.leaf_rows += [self._leaf_offset + index for index in range(len(leaf_of))]
        self._leaf_offset += len(leaf_of)

    def _split(self, tree: Tree, node: int, split_of: dict[int, int], leaf_of: dict[int, int]) -> None:
        left, right = int(tree.left[node]), int(tree.right[node])
        missing = int(tree.missing_left[node])
        true, false = ((missing, leaf_of.get(child, split_of.get(child, 0)), int(child in leaf_of)) for child in (left, right))
        self._append(int(tree.feature[node]), float(tree.threshold[node]), true, false)

    def _append(self, feature: int, split: float, true: tuple[int, int, int], false: tuple[int, int, int]) -> None:
        self.features.append(feature)
        self.splits.append(split)
        self.missing.append(true[0])
        self.true_ids.append(true[1])
        self.true_leafs.append(true[2])
        self.false_ids.append(false[1])
        self.false_leafs.append(false[2])
