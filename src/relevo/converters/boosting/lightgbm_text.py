"""Parses LightGBM's text format without the library: the splits and leaf values of each tree.

    header ─ Tree=0 … Tree=n ─ end of trees ─ parameters ─► LightGBMText ─► Ensemble

Truncated files are rejected here, before the library reads them: some of them make it abort the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from relevo.converters.graphs.derived_features import ZERO, DerivedColumnsBuilder
from relevo.converters.graphs.trees import SIGNED_SQUARE, SOFTPLUS, Ensemble, Tree, renumber_features
from relevo.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSIONS = ("v2", "v3", "v4")
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_ZERO, _MISSING_NAN = 1, 2
#: Objectives whose prediction is exp(raw score).
_LOGARITHMIC = ("poisson", "gamma", "tweedie")
_PLAIN = ("regression", "regression_l1", "regression_l2", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class LightGBMText:
    """Content of a LightGBM text file. Lifetime: one conversion."""

    version: str
    names: tuple[str, ...]
    classes: int  # 0 for a regression
    columns: int
    objective: str  # as written: "binary sigmoid:1"
    averaged: bool  # whether it is a random forest
    trees: tuple[dict[str, str], ...]

    @property
    def links_average(self) -> bool:
        """Whether a forest's average still goes through the link; up to v2 the leaves themselves contain probabilities."""
        return not self.averaged or self.version != "v2"


def read_text(data: bytes) -> LightGBMText:
    """Parses the text. Raises ConversionError when it is truncated, damaged, or of an unsupported kind."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    head, _, rest = text.partition("\nTree=")
    header = dict(_pairs(head))
    blocks, ended, tail = rest.partition("\nend of trees")
    if not ended or ("\nparameters:" in tail and "\nend of parameters" not in tail):
        raise ConversionError(reason="the LightGBM text is cut off")
    if header.get("version") not in _VERSIONS:
        raise ConversionError(reason=f"it is LightGBM text {header.get('version', '')[:20]}; {', '.join(_VERSIONS)} are known")
    trees = tuple(dict(_pairs(block)) for block in blocks.split("\nTree=")) if rest else ()
    names = tuple(header.get("feature_names", "").split(" "))
    if len(trees) != len(header.get("tree_sizes", "").split()) or not trees:
        raise ConversionError(reason=f"the LightGBM text holds {len(trees)} trees, and its head tells another number")
    if len(names) != _integer(header, "max_feature_idx") + 1 or len(set(names)) != len(names):
        raise ConversionError(reason="the LightGBM text names its features twice, or too few or too many of them")
    objective = header.get("objective", "")
    columns = _integer(header, "num_tree_per_iteration")
    if columns < 1 or len(trees) % columns:
        raise ConversionError(reason="the LightGBM text holds an unfinished round of trees")
    return LightGBMText(
        version=header["version"],
        names=names,
        classes=_classes(objective, columns),
        columns=columns,
        objective=objective,
        averaged="average_output" in head.split("\n"),
        trees=trees,
    )


def _pairs(block: str) -> list[tuple[str, str]]:
    return [(key, value) for key, equals, value in (line.partition("=") for line in block.split("\n")) if equals]


def _integer(header: dict[str, str], key: str) -> int:
    try:
        return int(header[key])
    except (KeyError, ValueError) as cause:
        raise ConversionError(reason=f"the LightGBM text does not tell its {key}") from cause


def _classes(objective: str, columns: int) -> int:
    kind = objective.partition(" ")[0]
    if kind == "binary":
        return 2
    return columns if kind in ("multiclass", "multiclassova") else 0


def to_ensemble(model: LightGBMText, rounds: int = 0) -> Ensemble:
    """Converts the trees to an Ensemble. rounds: how many boosting rounds to use; 0 for all. Raises ConversionError."""
    link, slope = _link(model)
    if not model.links_average:
        link, slope = "", 1.0
    used = model.trees[: rounds * model.columns] if rounds else model.trees
    derived_columns = DerivedColumnsBuilder(width=len(model.names))
    trees = [_tree(block, index % model.columns, model.columns, derived_columns) for index, block in enumerate(used)]
    columns, derived = derived_columns.finish()
    count = len(trees) // model.columns if model.averaged else 1
    return Ensemble(
        trees=renumber_features(trees, columns),
        base=np.zeros(model.columns),
        divisor=count / slope,
        link=link,
        single=False,
        strict=False,
        derived=derived,
    )


def _link(model: LightGBMText) -> tuple[str, float]:
    """Returns the link operator after the sum, and the factor that the sum is multiplied with before it."""
    kind, *options = model.objective.split(" ")
    slope = next((float(option[8:]) for option in options if option.startswith("sigmoid:")), 1.0)
    if kind in ("binary", "multiclassova"):
        return "Sigmoid", slope
    if kind == "multiclass":
        return "Softmax", 1.0
    if kind in _LOGARITHMIC:
        return "Exp", 1.0
    if kind in ("cross_entropy", "cross_entropy_lambda"):
        return ("Sigmoid" if kind == "cross_entropy" else SOFTPLUS), 1.0
    if kind not in _PLAIN:
        raise ConversionError(reason=f"the LightGBM objective '{kind[:40]}' is not known")
    if model.columns > 1:
        raise ConversionError(reason="it answers several numbers at once under an objective of its own")
    return (SIGNED_SQUARE if "sqrt" in options else ""), 1.0


def _tree(block: dict[str, str], column: int, columns: int, derived_columns: DerivedColumnsBuilder) -> Tree:
    leaves = _integer(block, "num_leaves")
    if block.get("is_linear", "0") == "1":
        raise ConversionError(
            reason="its leaves are linear models (linear_tree), which are not converted; train it without linear_tree"
        )
    leaf_values = _numbers(block, "leaf_value", leaves)
    inner = max(leaves - 1, 0)
    values = np.zeros((inner + leaves, columns))
    values[inner:, column] = leaf_values
    left, right = (_children(block, key, inner) for key in ("left_child", "right_child"))
    feature, threshold, missing, swapped = _splits(block, inner, derived_columns)
    left, right = np.where(swapped, right, left), np.where(swapped, left, right)
    _check_tree(left, right, inner, leaves)
    return Tree(
        left=_with_leaves(left, leaves, -1),
        right=_with_leaves(right, leaves, -1),
        feature=_with_leaves(feature, leaves, 0),
        threshold=np.concatenate([threshold, np.zeros(leaves)]),
        missing_left=np.concatenate([missing, np.zeros(leaves, dtype=bool)]),
        values=values,
    )


def _with_leaves(inner: NDArray[np.int64], leaves: int, fill: int) -> NDArray[np.int64]:
    return np.concatenate([inner, np.full(leaves, fill)]).astype(np.int64)


def _numbers(block: dict[str, str], key: str, count: int) -> NDArray[np.float64]:
    try:
        numbers = np.array(block.get(key, "").split(), dtype=np.float64)
    except ValueError as cause:
        raise ConversionError(reason=f"a tree's {key} are no numbers") from cause
    if len(numbers) != count:
        raise ConversionError(reason=f"a tree tells {len(numbers)} {key} where {count} belong")
    return numbers


def _integers(block: dict[str, str], key: str, count: int) -> NDArray[np.int64]:
    numbers = _numbers(block, key, count)
    if not (np.abs(numbers) < 2**32).all() or not (numbers == np.floor(numbers)).all():
        raise ConversionError(reason=f"a tree's {key} are no whole numbers")
    return numbers.astype(np.int64)


def _children(block: dict[str, str], key: str, inner: int) -> NDArray[np.int64]:
    """Child indices in our numbering: splits first, then leaves."""
    child = _integers(block, key, inner)
    return np.where(child < 0, inner + ~child, child)


def _check_tree(left: NDArray[np.int64], right: NDArray[np.int64], inner: int, leaves: int) -> None:
    """Checks that every node except the root is a child exactly once, and comes after its parent: no cycle, no unreachable node."""
    children = np.sort(np.concatenate([left, right]))
    is_ordered = all(((side >= inner) | (side > np.arange(inner))).all() for side in (left, right))
    if leaves < 1 or not is_ordered or not np.array_equal(children, np.arange(1, inner + leaves)[: 2 * inner]):
        raise ConversionError(reason="a tree's children make no tree")


def _splits(
    block: dict[str, str], inner: int, derived_columns: DerivedColumnsBuilder
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Feature, threshold, direction of NaN, and whether the children are swapped, for each split."""
    kind = _integers(block, "decision_type", inner)
    feature = _integers(block, "split_feature", inner)
    threshold = set_indices = _numbers(block, "threshold", inner)
    if ((feature < 0) | (feature >= derived_columns.width)).any():
        raise ConversionError(reason="a tree asks for a feature that the model does not take")
    missing_type = (kind >> 2) & 3
    # The library treats values smaller than ZERO as 0, so a threshold inside that range moves to its edge.
    threshold = np.where((threshold >= 0) & (threshold < ZERO), ZERO, threshold)
    threshold = np.where((threshold < 0) & (threshold >= -ZERO), np.nextafter(-ZERO, -np.inf), threshold)
    # NaN counts as zero unless the split handles missing values.
    missing = np.where(missing_type == 0, threshold >= 0, (kind & _DEFAULT_LEFT) > 0)
    swapped = (kind & _CATEGORICAL) > 0
    sets = _category_sets(block) if swapped.any() else []
    for node in np.flatnonzero(swapped | (missing_type == _MISSING_ZERO)).tolist():
        if swapped[node]:
            feature[node] = derived_columns.member(int(feature[node]), _category_set(sets, set_indices[node]), 0.0)
            # A member's 1 is above 0.5, and LightGBM sends members left.
            threshold[node], missing[node] = 0.5, True
        else:
            feature[node] = derived_columns.zero_missing(int(feature[node]))
    return feature, threshold, missing, swapped


def _category_sets(block: dict[str, str]) -> list[frozenset[int]]:
    """Categories of each categorical split: bits of 32-bit words."""
    bounds = _integers(block, "cat_boundaries", len(block.get("cat_boundaries", "").split()))
    words = _integers(block, "cat_threshold", len(block.get("cat_threshold", "").split()))
    if len(bounds) == 0 or (np.diff(bounds) < 0).any() or bounds[0] < 0 or bounds[-1] > len(words):
        raise ConversionError(reason="a tree's sets of categories are damaged")
    return [
        frozenset(32 * index + bit for index, word in enumerate(words[low:high].tolist()) for bit in range(32) if word >> bit & 1)
        for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]


def _category_set(sets: list[frozenset[int]], index: float) -> frozenset[int]:
    if not 0 <= index < len(sets):
        raise ConversionError(reason="a tree's sets of categories are damaged")
    return sets[int(index)]


def features_with_missing(model: LightGBMText) -> frozenset[str]:
    """Features with splits that handle missing values."""
    indices: set[int] = set()
    for block in model.trees:
        inner = max(_integer(block, "num_leaves") - 1, 0)
        kind, feature = _integers(block, "decision_type", inner), _integers(block, "split_feature", inner)
        indices |= set(feature[(kind >> 2) & 3 != 0].tolist())
    return frozenset(model.names[index] for index in indices)


def thresholds(model: LightGBMText) -> dict[str, list[float]]:
    """Feature → numbers and categories at which the prediction may change, to test a conversion where it could fail."""
    by_feature: dict[str, list[float]] = {name: [0.0, ZERO, -ZERO, 2 * ZERO] for name in model.names}
    for block in model.trees:
        inner = max(_integer(block, "num_leaves") - 1, 0)
        for feature, split in zip(
            _integers(block, "split_feature", inner).tolist(), _numbers(block, "threshold", inner), strict=True
        ):
            by_feature[model.names[feature]].append(float(split))
    return by_feature
