"""Reference distributions of held-out data, for the drift tests: profile.npz.

    fields · image statistics · outputs ─► numeric | categorical columns ─► NumericProfile | CategoryProfile ─► .npz

All bins are fixed here; none is computed from current data. Columns are named `field:…`, `image:…`, `output:…`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.errors import PackageError
from relevo.package.npz import archive_bytes, read_archive
from relevo.stats.bins import Bins, CategoryBins, category_hash, fit_bins, fit_categories, jitters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

#: Minimum number of rows for a reference.
MIN_ROWS = 200
_FORMAT = 1
_QUANTILES = np.arange(1, 100) / 100
_MAX_HASHES = 100_000
#: Length of `limits`: min, max, q.005, q.995
_LIMITS = 4
#: Length of `moments`: mean, sd, skew, excess kurtosis, share of zeros, whether all are integers
_MOMENTS = 6
#: Length of `display`: under, 100 bins, over, missing
_DISPLAY = 103


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumericProfile:
    """One numeric column of the reference."""

    name: str
    quantiles: NDArray[np.float64]  # (99,), 1 % … 99 %
    limits: NDArray[np.float64]  # (4,): smallest, largest, 0.5 % and 99.5 % quantiles
    moments: NDArray[np.float64]  # (6,): mean, sd, skew, excess kurtosis, zero share, 1.0 when all are integers
    display: NDArray[np.int64]  # (103,): under, 100 bins between 0.5 % … 99.5 %, over, missing
    bins: Bins

    @property
    def display_edges(self) -> NDArray[np.float64]:
        """The 101 edges of the display bins: 0.5 %, 1 % … 99 %, 99.5 %."""
        return np.concatenate([self.limits[2:3], self.quantiles, self.limits[3:4]])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CategoryProfile:
    """One categorical column of the reference."""

    name: str
    bins: CategoryBins
    once: int  # categories that occur in one row only
    distinct: int  # number of categories
    hashes: NDArray[np.uint64]  # (≤ 100 000,), sorted: hashes of all categories


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriftReference:
    """The drift reference of one package."""

    rows: int
    salt: str  # of the jitter that breaks ties
    numeric: tuple[NumericProfile, ...]
    categorical: tuple[CategoryProfile, ...]
    #: Held-out rows, as served: `truth` (n,), `scores` (n, columns) float32, `loss` (n,), `row` (n,);
    #: of a classification also `confusion` (labels, labels), shares that sum to 1, and `isotonic` (2, knots).
    held_out: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def display_counts(edges: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts (103,) of x, NaN where missing: under, 100 bins (edge, edge], over, missing."""
    present = x[~np.isnan(x)]
    position = np.searchsorted(edges, present, side="left")
    # The lowest edge belongs to the first bin, not to the underflow.
    position[present == edges[0]] = 1
    counts = np.bincount(position, minlength=_DISPLAY - 1)
    return np.array([*counts, len(x) - len(present)], dtype=np.int64)


def profile_number(name: str, x: NDArray[np.float64], salt: str) -> NumericProfile:
    """The profile of a numeric column, (n,), NaN where missing; the row index is the id for the jitter."""
    present = x[~np.isnan(x)]
    values = present if len(present) else np.zeros(1)
    limits = np.array([values.min(), values.max(), *np.quantile(values, [0.005, 0.995])])
    quantiles = np.quantile(values, _QUANTILES)
    ties = jitters(salt, name, [str(row) for row in range(len(x))])
    edges = np.concatenate([limits[2:3], quantiles, limits[3:4]])
    return NumericProfile(
        name=name,
        quantiles=quantiles,
        limits=limits,
        moments=_moments(values),
        display=display_counts(edges, x),
        bins=fit_bins(x, ties=ties),
    )


def _moments(x: NDArray[np.float64]) -> NDArray[np.float64]:
    mean, sd = float(x.mean()), float(x.std())
    # For a constant column, rounding errors alone would give a deviation and a skew.
    constant = sd <= 1e-12 * max(1.0, abs(mean))
    z = np.zeros_like(x) if constant else (x - mean) / sd
    whole = float(np.array_equal(x, np.round(x)))
    return np.array([mean, 0.0 if constant else sd, (z**3).mean(), 0.0 if constant else (z**4).mean() - 3, (x == 0).mean(), whole])


def profile_category(name: str, values: Sequence[str | None]) -> CategoryProfile:
    """The profile of a categorical column, None where missing."""
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    hashes = sorted(category_hash(text) for text in counts)[:_MAX_HASHES]
    return CategoryProfile(
        name=name,
        bins=fit_categories(values),
        once=sum(count == 1 for count in counts.values()),
        distinct=len(counts),
        hashes=np.array(hashes, dtype=np.uint64),
    )


def profile_bytes(reference: DriftReference) -> bytes:
    """The reference as .npz, with reproducible bytes."""
    numeric, categorical = reference.numeric, reference.categorical
    meta = {
        "format": _FORMAT,
        "rows": reference.rows,
        "salt": reference.salt,
        "numeric": [column.name for column in numeric],
        "categorical": [{"name": column.name, "categories": list(column.bins.categories)} for column in categorical],
    }
    arrays: dict[str, NDArray[Any]] = {
        "meta": np.frombuffer(msgspec.json.encode(meta), dtype=np.uint8),
        "numeric_quantiles": _stack([column.quantiles for column in numeric], len(_QUANTILES)),
        "numeric_limits": _stack([column.limits for column in numeric], _LIMITS),
        "numeric_moments": _stack([column.moments for column in numeric], _MOMENTS),
        "numeric_display": _stack([column.display for column in numeric], _DISPLAY).astype(np.int64),
        "numeric_missing": np.array([column.bins.missing for column in numeric], dtype=np.bool_),
        "category_missing": np.array([column.bins.missing for column in categorical], dtype=np.bool_),
        "category_seen": np.array([[column.once, column.distinct] for column in categorical], dtype=np.int64).reshape(-1, 2),
    }
    arrays |= _concatenate("numeric_edges", [column.bins.edges for column in numeric], np.float64)
    arrays |= _concatenate("numeric_ties", [column.bins.ties for column in numeric], np.float64)
    arrays |= _concatenate("numeric_atoms", [column.bins.atoms for column in numeric], np.float64)
    arrays |= _concatenate("numeric_a", [column.bins.a for column in numeric], np.int64)
    arrays |= _concatenate("category_a", [column.bins.a for column in categorical], np.int64)
    arrays |= _concatenate("category_hashes", [column.hashes for column in categorical], np.uint64)
    return archive_bytes(arrays | {f"held_out_{name}": array for name, array in reference.held_out.items()})


def _stack(rows: list[NDArray[Any]], width: int) -> NDArray[Any]:
    return np.stack(rows) if rows else np.zeros((0, width))


def _concatenate(name: str, rows: list[NDArray[Any]], dtype: Any) -> dict[str, NDArray[Any]]:
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    return {name: np.concatenate([np.array([], dtype=dtype), *rows]).astype(dtype), f"{name}_ends": ends}


def read_profile(data: bytes) -> DriftReference:
    """The reference in these bytes. Raises PackageError."""
    arrays = read_archive(data, "profile.npz")
    try:
        return _read(arrays)
    except (KeyError, IndexError, ValueError, TypeError, msgspec.MsgspecError, UnicodeDecodeError) as cause:
        raise PackageError(reason="'profile.npz' is not a profile") from cause


def _read(arrays: dict[str, NDArray[Any]]) -> DriftReference:
    meta = msgspec.json.decode(arrays["meta"].tobytes())
    if meta["format"] != _FORMAT:
        raise PackageError(reason=f"'profile.npz' has format {meta['format']}; this Relevo reads {_FORMAT}")
    rows = {name: _split(arrays, f"numeric_{name}") for name in ("edges", "ties", "atoms", "a")}
    numeric = tuple(
        NumericProfile(
            name=name,
            quantiles=arrays["numeric_quantiles"][index],
            limits=arrays["numeric_limits"][index],
            moments=arrays["numeric_moments"][index],
            display=arrays["numeric_display"][index],
            bins=Bins(missing=bool(arrays["numeric_missing"][index]), **{part: columns[index] for part, columns in rows.items()}),
        )
        for index, name in enumerate(meta["numeric"])
    )
    held_out = {name.removeprefix("held_out_"): array for name, array in arrays.items() if name.startswith("held_out_")}
    return DriftReference(
        rows=meta["rows"], salt=meta["salt"], numeric=numeric, categorical=_categories(meta, arrays), held_out=held_out
    )


def _categories(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> tuple[CategoryProfile, ...]:
    counts, hashes = _split(arrays, "category_a"), _split(arrays, "category_hashes")
    return tuple(
        CategoryProfile(
            name=entry["name"],
            bins=CategoryBins(
                categories=tuple(entry["categories"]), missing=bool(arrays["category_missing"][index]), a=counts[index]
            ),
            once=int(arrays["category_seen"][index, 0]),
            distinct=int(arrays["category_seen"][index, 1]),
            hashes=hashes[index],
        )
        for index, entry in enumerate(meta["categorical"])
    )


def _split(arrays: dict[str, NDArray[Any]], name: str) -> list[NDArray[Any]]:
    return np.split(arrays[name], arrays[f"{name}_ends"][:-1]) if len(arrays[f"{name}_ends"]) else []
