"""LightGBM's text form, read without LightGBM: what each tree asks and what its leaves say.

    header ─ Tree=0 … Tree=n ─ end of trees ─ parameters ─► Told ─► Ensemble

A file that is cut off is found here, before the library sees it: it ends its process over some of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from relevo.converters.graphs.derived_features import ZERO, DerivedColumnsBuilder
from relevo.converters.graphs.trees import SIGNED_SQUARE, SOFTPLUS, Ensemble, Tree, renumbered
from relevo.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSIONS = ("v2", "v3", "v4")
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_ZERO, _MISSING_NAN = 1, 2
#: Objectives whose answer is e to the raw score.
_LOGARITHMIC = ("poisson", "gamma", "tweedie")
_PLAIN = ("regression", "regression_l1", "regression_l2", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a LightGBM text says; lives as long as one conversion."""

    version: str
    names: tuple[str, ...]
    classes: int  # 0 for a number
    columns: int
    objective: str  # as written: "binary sigmoid:1"
    averaged: bool  # a random forest
    trees: tuple[dict[str, str], ...]

    @property
    def links_average(self) -> bool:
        """Whether a forest's average still goes through the link; up to v2 the leaves themselves held probabilities."""
        return not self.averaged or self.version != "v2"


def read_text(data: bytes) -> Told:
    """The parts of the text. Raises ConversionError when it is cut off, garbled, or of a kind that cannot be taken."""
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
    if len(names) != _whole(header, "max_feature_idx") + 1 or len(set(names)) != len(names):
        raise ConversionError(reason="the LightGBM text names its features twice, or too few or too many of them")
    objective = header.get("objective", "")
    columns = _whole(header, "num_tree_per_iteration")
    if columns < 1 or len(trees) % columns:
        raise ConversionError(reason="the LightGBM text holds an unfinished round of trees")
    return Told(
        version=header["version"],
        names=names,
        classes=_classes(objective, columns),
        columns=columns,
        objective=objective,
        averaged="average_output" in head.split("\n"),
        trees=trees,
    )


def _pairs(block: str) -> list[tuple[str, str]]:
    return [(key, value) for key, mark, value in (line.partition("=") for line in block.split("\n")) if mark]


def _whole(header: dict[str, str], key: str) -> int:
    try:
        return int(header[key])
    except (KeyError, ValueError) as cause:
        raise ConversionError(reason=f"the LightGBM text does not tell its {key}") from cause


def _classes(objective: str, columns: int) -> int:
    kind = objective.partition(" ")[0]
    if kind == "binary":
        return 2
    return columns if kind in ("multiclass", "multiclassova") else 0


def to_ensemble(told: Told, rounds: int = 0) -> Ensemble:
    """The trees as we write them. rounds: only the first so many; 0 for all. Raises ConversionError."""
    link, slope = _link(told)
    if not told.links_average:
        link, slope = "", 1.0
    taken = told.trees[: rounds * told.columns] if rounds else told.trees
    wanted = DerivedColumnsBuilder(width=len(told.names))
    trees = [_tree(block, place % told.columns, told.columns, wanted) for place, block in enumerate(taken)]
    columns, made = wanted.finish()
    count = len(trees) // told.columns if told.averaged else 1
    return Ensemble(
        trees=renumbered(trees, columns),
        base=np.zeros(told.columns),
        divisor=count / slope,
        link=link,
        single=False,
        strict=False,
        made=made,
    )


def _link(told: Told) -> tuple[str, float]:
    """The operator after the sum, and what the sum is multiplied with before it."""
    kind, *options = told.objective.split(" ")
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
    if told.columns > 1:
        raise ConversionError(reason="it answers several numbers at once under an objective of its own")
    return (SIGNED_SQUARE if "sqrt" in options else ""), 1.0


def _tree(block: dict[str, str], column: int, columns: int, wanted: DerivedColumnsBuilder) -> Tree:
    leaves = _whole(block, "num_leaves")
    if block.get("is_linear", "0") == "1":
        raise ConversionError(
            reason="its leaves are linear models (linear_tree), which are not converted; train it without linear_tree"
        )
    said = _numbers(block, "leaf_value", leaves)
    inner = max(leaves - 1, 0)
    values = np.zeros((inner + leaves, columns))
    values[inner:, column] = said
    left, right = (_children(block, key, inner) for key in ("left_child", "right_child"))
    feature, threshold, missing, turned = _splits(block, inner, wanted)
    left, right = np.where(turned, right, left), np.where(turned, left, right)
    _check(left, right, inner, leaves)
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
        found = np.array(block.get(key, "").split(), dtype=np.float64)
    except ValueError as cause:
        raise ConversionError(reason=f"a tree's {key} are no numbers") from cause
    if len(found) != count:
        raise ConversionError(reason=f"a tree tells {len(found)} {key} where {count} belong")
    return found


def _wholes(block: dict[str, str], key: str, count: int) -> NDArray[np.int64]:
    found = _numbers(block, key, count)
    if not (np.abs(found) < 2**32).all() or not (found == np.floor(found)).all():
        raise ConversionError(reason=f"a tree's {key} are no whole numbers")
    return found.astype(np.int64)


def _children(block: dict[str, str], key: str, inner: int) -> NDArray[np.int64]:
    """Children by our numbers: splits first, leaves behind them."""
    child = _wholes(block, key, inner)
    return np.where(child < 0, inner + ~child, child)


def _check(left: NDArray[np.int64], right: NDArray[np.int64], inner: int, leaves: int) -> None:
    """Every node but the root is somebody's child once, and a split's child comes after it: no circle, nothing loose."""
    children = np.sort(np.concatenate([left, right]))
    after = all(((side >= inner) | (side > np.arange(inner))).all() for side in (left, right))
    if leaves < 1 or not after or not np.array_equal(children, np.arange(1, inner + leaves)[: 2 * inner]):
        raise ConversionError(reason="a tree's children make no tree")


def _splits(
    block: dict[str, str], inner: int, wanted: DerivedColumnsBuilder
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Feature, threshold, where NaN goes, and whether the two children change places, of each split."""
    kind = _wholes(block, "decision_type", inner)
    feature = _wholes(block, "split_feature", inner)
    threshold = places = _numbers(block, "threshold", inner)
    if ((feature < 0) | (feature >= wanted.width)).any():
        raise ConversionError(reason="a tree asks for a feature that the model does not take")
    told = (kind >> 2) & 3
    # The library takes what is smaller than its zero for 0, so a threshold inside that range lies at its edge.
    threshold = np.where((threshold >= 0) & (threshold < ZERO), ZERO, threshold)
    threshold = np.where((threshold < 0) & (threshold >= -ZERO), np.nextafter(-ZERO, -np.inf), threshold)
    # NaN counts as zero unless the split was made to know it.
    missing = np.where(told == 0, threshold >= 0, (kind & _DEFAULT_LEFT) > 0)
    turned = (kind & _CATEGORICAL) > 0
    sets = _sets(block) if turned.any() else []
    for node in np.flatnonzero(turned | (told == _MISSING_ZERO)).tolist():
        if turned[node]:
            feature[node] = wanted.member(int(feature[node]), _set(sets, places[node]), 0.0)
            # A member's 1 is above one half, and LightGBM sends members left.
            threshold[node], missing[node] = 0.5, True
        else:
            feature[node] = wanted.zero_missing(int(feature[node]))
    return feature, threshold, missing, turned


def _sets(block: dict[str, str]) -> list[frozenset[int]]:
    """The categories of each categorical split: bits of 32-bit words."""
    bounds = _wholes(block, "cat_boundaries", len(block.get("cat_boundaries", "").split()))
    words = _wholes(block, "cat_threshold", len(block.get("cat_threshold", "").split()))
    if len(bounds) == 0 or (np.diff(bounds) < 0).any() or bounds[0] < 0 or bounds[-1] > len(words):
        raise ConversionError(reason="a tree's sets of categories are damaged")
    return [
        frozenset(32 * place + bit for place, word in enumerate(words[low:high].tolist()) for bit in range(32) if word >> bit & 1)
        for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]


def _set(sets: list[frozenset[int]], place: float) -> frozenset[int]:
    if not 0 <= place < len(sets):
        raise ConversionError(reason="a tree's sets of categories are damaged")
    return sets[int(place)]


def features_with_missing(told: Told) -> frozenset[str]:
    """The features whose splits were made to know missing values."""
    found: set[int] = set()
    for block in told.trees:
        inner = max(_whole(block, "num_leaves") - 1, 0)
        kind, feature = _wholes(block, "decision_type", inner), _wholes(block, "split_feature", inner)
        found |= set(feature[(kind >> 2) & 3 != 0].tolist())
    return frozenset(told.names[place] for place in found)


def thresholds(told: Told) -> dict[str, list[float]]:
    """By feature, the numbers and categories where an answer may change; for trying a conversion where it could fail."""
    found: dict[str, list[float]] = {name: [0.0, ZERO, -ZERO, 2 * ZERO] for name in told.names}
    for block in told.trees:
        inner = max(_whole(block, "num_leaves") - 1, 0)
        for feature, split in zip(
            _wholes(block, "split_feature", inner).tolist(), _numbers(block, "threshold", inner), strict=True
        ):
            found[told.names[feature]].append(float(split))
    return found
