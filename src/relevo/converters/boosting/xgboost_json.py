"""What XGBoost's JSON tells of a model, brought to the ensembles and linear models that we write ourselves.

    learner ─ objective: link, classes ─┐
            ─ base score ─► margin ─────┼─► Boosted(ensemble | linear)
            ─ trees | weights ──────────┘

XGBoost compares *x is less than t* in single precision; both sides are kept as they are, so every row ends in the same leaf.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.graphs.derived_features import DerivedColumnsBuilder
from relevo.converters.graphs.linear import Linear
from relevo.converters.graphs.trees import Ensemble, Tree, renumbered
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
    """A model of XGBoost as we write it; lives as long as one conversion."""

    objective: str
    classes: int  # 0 for a number
    names: tuple[str, ...]
    body: Ensemble | Linear

    @property
    def linear(self) -> bool:
        """Whether a missing number counts as zero, as only the linear booster takes it."""
        return isinstance(self.body, Linear)


def read_learner(plain: dict[str, Any], rounds: int = 0) -> ParsedXGBoost:
    """The model that the JSON tells. rounds: only the first so many; 0 for all.

    Raises ConversionError when it is damaged or of a kind that cannot be written.
    """
    try:
        return _learner(plain["learner"], rounds)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as cause:
        raise ConversionError(reason=f"the XGBoost model is damaged ({type(cause).__name__}: {str(cause)[:80]})") from cause


def _learner(learner: dict[str, Any], rounds: int) -> ParsedXGBoost:
    told, booster = learner["learner_model_param"], learner["gradient_booster"]
    objective = str(learner["objective"]["name"])
    groups = max(1, int(told["num_class"]))
    width = int(told["num_feature"])
    link = link_of(objective)
    if int(told.get("num_target", 1)) > 1:
        raise ConversionError(reason="it answers several numbers at once; train one model for each")
    if booster["name"] not in _BOOSTERS:
        raise ConversionError(reason=f"the XGBoost booster '{str(booster['name'])[:40]}' is not known")
    base = _margin(told, objective, groups)
    body: Ensemble | Linear
    if booster["name"] == "gblinear":
        body = _linear(booster["model"]["weights"], base, width, link)
    else:
        body = _ensemble(booster, base, width, link, rounds)
    return ParsedXGBoost(objective=objective, classes=_classes(objective, groups), names=_names(learner, width), body=body)


def _names(learner: dict[str, Any], width: int) -> tuple[str, ...]:
    names = tuple(str(name) for name in learner.get("feature_names") or ())
    if not 0 < width < 2**24:
        raise ConversionError(reason="the XGBoost model does not tell how many features it takes")
    return names if len(set(names)) == width else tuple(f"f{place}" for place in range(width))


def _classes(objective: str, groups: int) -> int:
    if objective in ("binary:logistic", "binary:logitraw"):
        return 2
    return groups if objective in _MULTI else 0


def link_of(objective: str) -> str:
    """The operator that makes the answer of a sum; empty for none. Raises ConversionError."""
    if objective in ("binary:logistic", "binary:logitraw", "reg:logistic"):
        # The raw score of logitraw is shown as the probability that it stands for.
        return "Sigmoid"
    if objective in _MULTI:
        return "Softmax"
    if objective in _LOGARITHMIC:
        return "Exp"
    if objective in _PLAIN or objective.startswith("rank:"):
        return ""
    raise ConversionError(reason=f"the XGBoost objective '{objective[:40]}' is not one that is converted")


def _margin(told: dict[str, Any], objective: str, groups: int) -> NDArray[np.float64]:
    """What every sum begins with, (groups,), in single precision as XGBoost has it."""
    plain = json.loads(str(told["base_score"]))
    score = np.atleast_1d(np.asarray(plain, dtype=np.float32)).astype(np.float64)
    if score.shape not in ((1,), (groups,)) or not np.isfinite(score).all():
        raise ConversionError(reason="the XGBoost model's base score is damaged")
    if not told.get("margin", False):
        score = _undone(objective)(score)
    return np.array(np.broadcast_to(score.astype(np.float32).astype(np.float64), (groups,)))


def _undone(objective: str) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The link the other way round."""
    if objective in _LOGISTIC:
        return lambda score: -np.log(1.0 / score - 1.0)
    return np.log if objective in _LOGARITHMIC else np.asarray


def _linear(weights: list[float], base: NDArray[np.float64], width: int, link: str) -> Linear:
    table = np.asarray(weights, dtype=np.float64).reshape(width + 1, len(base))
    # The linear booster begins every class with the first one's base score.
    base = np.full(len(base), base[0])
    return Linear(coef=np.ascontiguousarray(table[:-1]), intercept=table[-1] + base, link=link, skips_missing=True)


def _ensemble(booster: dict[str, Any], base: NDArray[np.float64], width: int, link: str, rounds: int) -> Ensemble:
    model = booster["gbtree"]["model"] if "gbtree" in booster else booster["model"]
    weights = [float(np.float32(weight)) for weight in tree_weights(booster)] or [1.0] * len(model["trees"])
    count = _taken(model, len(base), rounds)
    wanted = DerivedColumnsBuilder(width=width)
    trees = [
        _tree(tree, int(group), len(base), weight, wanted)
        for tree, group, weight in zip(model["trees"][:count], model["tree_info"][:count], weights[:count], strict=True)
    ]
    if not trees:
        raise ConversionError(reason="the XGBoost model holds no trees")
    columns, made = wanted.finish()
    return Ensemble(trees=renumbered(trees, columns), base=base, divisor=1.0, link=link, single=True, strict=True, made=made)


def tree_weights(booster: dict[str, Any]) -> list[float]:
    """Each tree's weight after others were dropped, as DART keeps it, from 3.4 on the tree booster itself; else empty."""
    weights: list[float] = booster.get("weight_drop") or booster.get("model", {}).get("weight_drop") or []
    return weights


def _taken(model: dict[str, Any], groups: int, rounds: int) -> int:
    """How many trees the first rounds are."""
    if not rounds:
        return len(model["trees"])
    ends = model.get("iteration_indptr")
    parallel = max(1, int(model.get("gbtree_model_param", {}).get("num_parallel_tree", 1)))
    return int(ends[min(rounds, len(ends) - 1)]) if ends else min(len(model["trees"]), rounds * groups * parallel)


def _tree(plain: dict[str, Any], group: int, groups: int, weight: float, wanted: DerivedColumnsBuilder) -> Tree:
    left, right, feature = (np.asarray(plain[key], dtype=np.int64) for key in ("left_children", "right_children", "split_indices"))
    number = np.asarray(plain["split_conditions"], dtype=np.float32).astype(np.float64)
    missing = np.asarray(plain["default_left"]).astype(bool)
    order = _reached(left, right)
    if int(plain.get("tree_param", {}).get("size_leaf_vector", 1)) > 1:
        raise ConversionError(reason="its leaves hold several numbers (multi_output_tree), which are not converted")
    if not (len(number) == len(missing) == len(feature) == len(left)) or not 0 <= group < groups:
        raise ConversionError(reason="a tree of the XGBoost model is damaged")
    place = np.full(len(left), -1)
    place[order] = np.arange(len(order))
    leaf = left[order] < 0
    feature, split = _questions(plain, order, feature[order], number[order], wanted)
    values = np.zeros((len(order), groups))
    values[:, group] = np.where(leaf, weight * number[order], 0.0)
    return Tree(
        left=np.where(leaf, -1, place[left[order]]),
        right=np.where(leaf, -1, place[right[order]]),
        feature=np.where(leaf, 0, feature),
        threshold=np.where(leaf, 0.0, split),
        missing_left=missing[order],
        values=values,
    )


def _reached(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nodes that can be reached from the root, which comes first: pruned ones stay in the file."""
    seen = np.zeros(len(left), dtype=bool)
    order: list[int] = []
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if not 0 <= node < len(left) or len(right) != len(left) or seen[node]:
            raise ConversionError(reason="a tree's children make no tree")
        seen[node] = True
        order.append(node)
        if left[node] >= 0:
            waiting += [int(right[node]), int(left[node])]
    return np.sort(np.array(order))


def _questions(
    plain: dict[str, Any],
    order: NDArray[np.int64],
    feature: NDArray[np.int64],
    number: NDArray[np.float64],
    wanted: DerivedColumnsBuilder,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Feature and threshold of each node, a split by category asking for its made column: members go right."""
    inner = np.asarray(plain["left_children"])[order] >= 0
    if ((feature[inner] < 0) | (feature[inner] >= wanted.width)).any():
        raise ConversionError(reason="a tree asks for a feature that the model does not take")
    kinds = np.asarray(plain.get("split_type") or [0] * len(plain["left_children"]))[order]
    feature, number = feature.copy(), number.copy()
    for place in np.flatnonzero((kinds == 1) & inner).tolist():
        feature[place] = wanted.member(int(feature[place]), _set(plain, int(order[place])), float("nan"))
        number[place] = 0.5
    return feature, number


def _set(plain: dict[str, Any], node: int) -> frozenset[int]:
    where = list(plain["categories_nodes"]).index(node)
    start, size = int(plain["categories_segments"][where]), int(plain["categories_sizes"][where])
    if start < 0 or size < 0 or start + size > len(plain["categories"]):
        raise ConversionError(reason="a tree's sets of categories are damaged")
    return frozenset(int(member) for member in plain["categories"][start : start + size])


def thresholds(boosted: ParsedXGBoost) -> dict[int, list[float]]:
    """By feature's place, the numbers where an answer may change; for trying a conversion where it could fail."""
    found: dict[int, list[float]] = {place: [0.0, 1.0] for place in range(len(boosted.names))}
    if isinstance(boosted.body, Ensemble):
        for tree in boosted.body.trees:
            inner = tree.left >= 0
            for feature, split in zip(tree.feature[inner].tolist(), tree.threshold[inner].tolist(), strict=True):
                if feature in found:
                    found[feature].append(split)
    return found
