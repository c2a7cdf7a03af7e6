"""Fits bins on reference rows, so that the distribution of the bin masses is known whatever the feature.

    reference ─ missing? ─ atoms ─ the rest by rank ─► Bins(edges, atoms, a)          new value ─ bin_ids ─► bin
    categories ─ kept, other, missing ─► CategoryBins(categories, a)

The edges are ranks and not values: for n reference rows, the masses of the gaps are Dirichlet(1, …, 1), so those of the bins are
Dirichlet(a) with Σa = n + 1. Ties are broken by a jitter that can be recomputed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Minimum number of reference rows for a bin.
MIN_ROWS = 5
MAX_CATEGORIES = 49
_SEPARATOR = b"\x1f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Bins of one numeric feature: first the quantile bins, then one per atom, then missing if it has a bin."""

    edges: NDArray[np.float64]  # (k,), ascending; bin j is (edge[j-1], edge[j]]
    ties: NDArray[np.float64]  # (k,), jitter of the row at each edge, 0..1
    atoms: NDArray[np.float64]  # values with a bin of their own, ascending
    missing: bool  # whether missing has a bin, the last one
    a: NDArray[np.int64]  # gap count of each bin; the sum is the number of binned rows + 1

    def __len__(self) -> int:
        """Number of bins."""
        return len(self.a)


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryBins:
    """Bins of one categorical feature: one per kept category, then `other`, then missing if it has a bin."""

    categories: tuple[str, ...]  # by descending count, ties by text
    missing: bool
    a: NDArray[np.int64]  # the sum is the number of binned rows + 1


def jitter(salt: str, feature: str, row: str) -> float:
    """A reproducible number in [0, 1) that breaks ties: blake2b-8 of the three texts joined by 0x1F, over 2⁶⁴."""
    joined = _SEPARATOR.join((salt.encode(), feature.encode(), row.encode()))
    return int.from_bytes(blake2b(joined, digest_size=8).digest(), "big") / 2**64


def jitters(salt: str, feature: str, rows: Sequence[str]) -> NDArray[np.float64]:
    """The jitter of each row, (n,)."""
    return np.array([jitter(salt, feature, row) for row in rows])


def fit_bins(x_ref: NDArray[np.float64], K: int = 10, *, ties: NDArray[np.float64] | None = None) -> Bins:  # noqa: N803 - as in the formulas
    """Bins of a numeric feature from its reference rows.

    x_ref: (n,), NaN where missing. K: number of quantile bins. ties: (n,) jitter of the rows; default: the order of the rows.
    Missing gets a bin from 5 rows on; a value gets one from a share of max(5/n, 1/2K) on. Σa = binned rows + 1.
    """
    order = np.linspace(0.0, 1.0, len(x_ref), endpoint=False) if ties is None else ties
    absent = np.isnan(x_ref)
    has_missing = int(absent.sum()) >= MIN_ROWS
    values, order = x_ref[~absent], order[~absent]
    rows = len(values) + (int(absent.sum()) if has_missing else 0)
    atoms, counts = _atoms(values, max(MIN_ROWS / rows, 1 / (2 * K)) * rows if rows else np.inf)
    rest = ~np.isin(values, atoms)
    edges, edge_ties, gaps = _cut(values[rest], order[rest], K)
    a = [*gaps, *counts, *([int(absent.sum())] if has_missing else [])]
    return Bins(edges=edges, ties=edge_ties, atoms=atoms, missing=has_missing, a=np.array(a, dtype=np.int64))


def _atoms(values: NDArray[np.float64], min_rows: float) -> tuple[NDArray[np.float64], list[int]]:
    unique, counts = np.unique(values, return_counts=True)
    frequent = counts >= min_rows
    return unique[frequent], counts[frequent].tolist()


def _cut(
    values: NDArray[np.float64], ties: NDArray[np.float64], quantiles: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int]]:
    """Edges, their ties and the gap counts of the quantile bins; without rows, one bin with a = 1."""
    order = np.lexsort((ties, values))
    ranks = np.unique(np.round(np.arange(1, quantiles) * len(values) / quantiles).astype(int))
    ranks = ranks[ranks > 0]
    gaps = np.diff([0, *ranks.tolist(), len(values) + 1]).tolist()
    rows = order[ranks - 1] if len(values) else np.array([], dtype=int)
    return values[rows], ties[rows], gaps if len(values) else [1]


def bin_ids(bins: Bins, x: NDArray[np.float64], ties: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each value, (n,); −1 for a missing value if missing has no bin.

    x: (n,), NaN where missing. ties: (n,), jitter of each row under the same salt and feature.
    """
    quantile_bins = len(bins.edges) + 1
    # Edges strictly below (x, tie), compared as pairs: those with a smaller value, and among equal values those with a smaller tie.
    ids = np.searchsorted(bins.edges, x, side="left").astype(np.int64)
    for edge, tie in zip(bins.edges.tolist(), bins.ties.tolist(), strict=True):
        ids += (x == edge) & (tie < ties)
    if len(bins.atoms):
        index = np.clip(np.searchsorted(bins.atoms, x), 0, len(bins.atoms) - 1)
        ids = np.where(bins.atoms[index] == x, quantile_bins + index, ids)
    return np.where(np.isnan(x), len(bins) - 1 if bins.missing else -1, ids)


def fit_categories(x_ref: Sequence[str | None], max_categories: int = MAX_CATEGORIES, min_rows: int = MIN_ROWS) -> CategoryBins:
    """Bins of a categorical feature: at most `max_categories` of `min_rows` rows each, `other` with n + 1 − Σ, missing from 5."""
    present = np.array([value for value in x_ref if value is not None], dtype=object)
    missing = len(x_ref) - len(present)
    counts_by_text: dict[str, int] = {}
    for value in present:
        counts_by_text[value] = counts_by_text.get(value, 0) + 1
    kept = sorted(
        (text for text, count in counts_by_text.items() if count >= min_rows), key=lambda text: (-counts_by_text[text], text)
    )[:max_categories]
    counts = [counts_by_text[text] for text in kept]
    other = len(present) - sum(counts) + 1
    a = [*counts, other, *([missing] if missing >= MIN_ROWS else [])]
    return CategoryBins(categories=tuple(kept), missing=missing >= MIN_ROWS, a=np.array(a, dtype=np.int64))


def category_ids(bins: CategoryBins, x: Sequence[str | None]) -> NDArray[np.int64]:
    """The bin of each category, (n,); −1 for a missing value if missing has no bin."""
    indices = {text: index for index, text in enumerate(bins.categories)}
    other = len(bins.categories)
    absent = other + 1 if bins.missing else -1
    return np.array([absent if value is None else indices.get(value, other) for value in x], dtype=np.int64)


def category_hash(category: str) -> int:
    """Eight bytes of a category's blake2b, big-endian: identifies a category without storing its text."""
    return int.from_bytes(blake2b(category.encode(), digest_size=8).digest(), "big")
