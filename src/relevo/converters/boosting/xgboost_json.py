"""Parses XGBoost's JSON model into an ensemble or linear model that is exported to ONNX exactly.

    learner ─ objective: link, classes ─┐
            ─ base score ─► margin ─────┼─► ParsedXGBoost(ensemble | linear)
            ─ trees | weights ──────────┘

XGBoost compares *x is less than t* in single precision; both sides stay as they are, so every row reaches the same leaf.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.graphs.derived_features import DerivedColumnsBuilder
from relevo.converters.graphs.linear import Linear
from relevo.converters.graphs.trees import Ensemble, Tree, renumber_features
from relevo.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_LOGISTIC = ("binary:logistic", "reg:logistic", "binary:logitraw")
_LOGARITHMIC = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
_MULTI = ("multi:softmax", "multi:softprob")
_PLAIN = ("reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror")
_BOOSTERS = ("gbtree", "dart", "gblinear")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedXGBoost:
    """An XGBoost model, parsed. Lifetime: one conversion."""

    objective: str
    classes: int  # 0 for a regression
    names: tuple[str, ...]
    structure: Ensemble | Linear

    @property
    def is_linear(self) -> bool:
        """Whether a missing number counts as zero, which only the linear booster does."""
        return isinstance(self.structure, Linear)


def read_learner(plain: dict[str, Any], rounds: int = 0) -> ParsedXGBoost:
    """Parses the model from JSON. rounds: how many boosting rounds to use; 0 for all.

    Raises ConversionError when it is damaged or of an unsupported kind.
    """
    try:
        return _learner(plain["learner"], rounds)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as cause:
        raise ConversionError(reason=f"the XGBoost model is damaged ({type(cause).__name__}: {str(cause)[:80]})") from cause


def _learner(learner: dict[str, Any], rounds: int) -> ParsedXGBoost:
    params, booster = learner["learner_model_param"], learner["gradient_booster"]
    objective = str(learner["objective"]["name"])
    groups = max(1, int(params["num_class"]))
    width = int(params["num_feature"])
    link = link_of(objective)
    if int(params.get("num_target", 1)) > 1:
        raise ConversionError(reason="it answers several numbers at once; train one model for each")
    if booster["name"] not in _BOOSTERS:
        raise ConversionError(reason=f"the XGBoost booster '{str(booster['name'])[:40]}' is not known")
    base = _margin(params, objective, groups)
    structure: Ensemble | Linear
    if booster["name"] == "gblinear":
        structure = _linear(booster["model"]["weights"], base, width, link)
    else:
        structure = _ensemble(booster, base, width, link, rounds)
    return ParsedXGBoost(
        objective=objective, classes=_classes(objective, groups), names=_names(learner, width), structure=structure
    )


def _names(learner: dict[str, Any], width: int) -> tuple[str, ...]:
    names = tuple(str(name) for name in learner.get("feature_names") or ())
    if not 0 < width < 2**24:
        raise ConversionError(reason="the XGBoost model does not tell how many features it takes")
    return names if len(set(names)) == width else tuple(f"f{index}" for index in range(width))


def _classes(objective: str, groups: int) -> int:
    if objective in ("binary:logistic", "binary:logitraw"):
        return 2
    return groups if objective in _MULTI else 0


def link_of(objective: str) -> str:
    """The operator that turns the sum into the prediction; empty for none. Raises ConversionError."""
    if objective in ("binary:logistic", "binary:logitraw", "reg:logistic"):
        # The raw score of logitraw is served as its probability.
        return "Sigmoid"
    if objective in _MULTI:
        return "Softmax"
    if objective in _LOGARITHMIC:
        return "Exp"
    if objective in _PLAIN or objective.startswith("rank:"):
        return ""
    raise ConversionError(reason=f"the XGBoost objective '{objective[:40]}' is not one that is converted")


def _margin(params: dict[str, Any], objective: str, groups: int) -> NDArray[np.float64]:
    """Initial value of every sum, (groups,), in single precision as in XGBoost."""
    plain = json.loads(str(params["base_score"]))
    score = np.atleast_1d(np.asarray(plain, dtype=np.float32)).astype(np.float64)
    if score.shape not in ((1,), (groups,)) or not np.isfinite(score).all():
        raise ConversionError(reason="the XGBoost model's base score is damaged")
    if not params.get("margin", False):
        score = _inverse_link(objective)(score)
    return np.array(np.broadcast_to(score.astype(np.float32).astype(np.float64), (groups,)))


def _inverse_link(objective: str) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Returns the inverse of the link."""
    if objective in _LOGISTIC:
        return lambda score: -np.log(1.0 / score - 1.0)
    return np.log if objective in _LOGARITHMIC else np.asarray


def _linear(weights: list[float], base: NDArray[np.float64], width: int, link: str) -> Linear:
    table = np.asarray(weights, dtype=np.float64).reshape(width + 1, len(base))
    # The linear booster starts every class with the first one's base score.
    base = np.full(len(base), base[0])
    return Linear(coef=np.ascontiguousarray(table[:-1]), intercept=table[-1] + base, link=link, skips_missing=True)


def _ensemble(booster: dict[str, Any], base: NDArray[np.float64], width: int, link: str, rounds: int) -> Ensemble:
    model = booster["gbtree"]["model"] if "gbtree" in booster else booster["model"]
    weights = [float(np.float32(weight)) for weight in tree_weights(booster)] or [1.0] * len(model["trees"])
    count = _tree_count(model, len(base), rounds)
    derived_columns = DerivedColumnsBuilder(width=width)
    trees = [
        _tree(tree, int(group), len(base), weight, derived_columns)
        for tree, group, weight in zip(model["trees"][:count], model["tree_info"][:count], weights[:count], strict=True)
    ]
    if not trees:
        raise ConversionError(reason="the XGBoost model holds no trees")
    columns, derived = derived_columns.finish()
    return Ensemble(
        trees=renumber_features(trees, columns), base=base, divisor=1.0, link=link, single=True, strict=True, derived=derived
    )


def tree_weights(booster: dict[str, Any]) -> list[float]:
    """Weight of each tree after dropout, as DART stores it, from 3.4 on in the tree booster itself; empty otherwise."""
    weights: list[float] = booster.get("weight_drop") or booster.get("model", {}).get("weight_drop") or []
    return weights


def _tree_count(model: dict[str, Any], groups: int, rounds: int) -> int:
    """Number of trees in the given number of rounds."""
    if not rounds:
        return len(model["trees"])
    ends = model.get("iteration_indptr")
    parallel = max(1, int(model.get("gbtree_model_param", {}).get("num_parallel_tree", 1)))
    return int(ends[min(rounds, len(ends) - 1)]) if ends else min(len(model["trees"]), rounds * groups * parallel)


def _tree(plain: dict[str, Any], group: int, groups: int, weight: float, derived_columns: DerivedColumnsBuilder) -> Tree:
    left, right, feature = (np.asarray(plain[key], dtype=np.int64) for key in ("left_children", "right_children", "split_indices"))
    number = np.asarray(plain["split_conditions"], dtype=np.float32).astype(np.float64)
    missing = np.asarray(plain["default_left"]).astype(bool)
    order = _reachable(left, right)
    if int(plain.get("tree_param", {}).get("size_leaf_vector", 1)) > 1:
        raise ConversionError(reason="its leaves hold several numbers (multi_output_tree), which are not converted")
    if not (len(number) == len(missing) == len(feature) == len(left)) or not 0 <= group < groups:
        raise ConversionError(reason="a tree of the XGBoost model is damaged")
    new_index = np.full(len(left), -1)
    new_index[order] = np.arange(len(order))
    leaf = left[order] < 0
    feature, threshold = _comparisons(plain, order, feature[order], number[order], derived_columns)
    values = np.zeros((len(order), groups))
    values[:, group] = np.where(leaf, weight * number[order], 0.0)
    return Tree(
        left=np.where(leaf, -1, new_index[left[order]]),
        right=np.where(leaf, -1, new_index[right[order]]),
        feature=np.where(leaf, 0, feature),
        threshold=np.where(leaf, 0.0, threshold),
        missing_left=missing[order],
        values=values,
    )


def _reachable(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Nodes reachable from the root, which comes first; pruned nodes remain in the file."""
    visited = np.zeros(len(left), dtype=bool)
    order: list[int] = []
    pending = [0]
    while pending:
        node = pending.pop()
        if not 0 <= node < len(left) or len(right) != len(left) or visited[node]:
            raise ConversionError(reason="a tree's children make no tree")
        visited[node] = True
        order.append(node)
        if left[node] >= 0:
            pending += [int(right[node]), int(left[node])]
    return np.sort(np.array(order))


def _comparisons(
    plain: dict[str, Any],
    order: NDArray[np.int64],
    feature: NDArray[np.int64],
    number: NDArray[np.float64],
    derived_columns: DerivedColumnsBuilder,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Feature and threshold of each node; a split by category uses its derived column: members go right."""
    inner = np.asarray(plain["left_children"])[order] >= 0
    if ((feature[inner] < 0) | (feature[inner] >= derived_columns.width)).any():
        raise ConversionError(reason="a tree asks for a feature that the model does not take")
    kinds = np.asarray(plain.get("split_type") or [0] * len(plain["left_children"]))[order]
    feature, number = feature.copy(), number.copy()
    for index in np.flatnonzero((kinds == 1) & inner).tolist():
        feature[index] = derived_columns.member(int(feature[index]), _category_set(plain, int(order[index])), float("nan"))
        number[index] = 0.5
    return feature, number


def _category_set(plain: dict[str, Any], node: int) -> frozenset[int]:
    index = list(plain["categories_nodes"]).index(node)
    start, size = int(plain["categories_segments"][index]), int(plain["categories_sizes"][index])
    if start < 0 or size < 0 or start + size > len(plain["categories"]):
        raise ConversionError(reason="a tree's sets of categories are damaged")
    return frozenset(int(member) for member in plain["categories"][start : start + size])


def thresholds(parsed: ParsedXGBoost) -> dict[int, list[float]]:
    """Feature index → numbers at which the prediction may change, to test a conversion where it could fail."""
    by_feature: dict[int, list[float]] = {index: [0.0, 1.0] for index in range(len(parsed.names))}
    if isinstance(parsed.structure, Ensemble):
        for tree in parsed.structure.trees:
            inner = tree.left >= 0
            for feature, split in zip(tree.feature[inner].tolist(), tree.threshold[inner].tolist(), strict=True):
                if feature in by_feature:
                    by_feature[feature].append(split)
    return by_feature
