"""Bins by rank, with atoms, missing and categories."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.stats.bins import bin_ids, category_hash, category_ids, fit_bins, fit_categories, jitter, jitters


def _ties(rows: int) -> np.ndarray:
    return jitters("salt", "feature", [str(row) for row in range(rows)])


def test_a_thousand_rows_give_nine_hundreds_and_one_more() -> None:
    """Gap counts of 1000 continuous rows are 100 nine times and 101 once: they sum to n + 1."""
    bins = fit_bins(np.random.default_rng(0).normal(size=1000))
    assert bins.a.tolist() == [100] * 9 + [101]


def test_jitter_is_the_documented_hash() -> None:
    """Eight bytes of blake2b over salt, feature and row joined by 0x1F, as a fraction."""
    raw = blake2b(b"s\x1ff\x1f7", digest_size=8).digest()
    assert jitter("s", "f", "7") == int.from_bytes(raw, "big") / 2**64


def test_a_heavy_value_and_missing_have_bins_of_their_own() -> None:
    """Zeros of a zero-inflated feature are an atom, and missing values from five rows on have a bin."""
    x = np.concatenate([np.zeros(600), np.random.default_rng(1).exponential(size=380), np.full(20, np.nan)])
    bins = fit_bins(x, ties=_ties(1000))
    assert bins.atoms.tolist() == [0.0]
    assert bins.missing
    assert bins.a[-2:].tolist() == [600, 20]
    assert bins.a.sum() == 1001


def test_a_few_missing_rows_are_counted_nowhere() -> None:
    """Four missing rows make no bin, and their id is −1."""
    x = np.concatenate([np.random.default_rng(2).normal(size=196), np.full(4, np.nan)])
    bins = fit_bins(x, ties=_ties(200))
    assert not bins.missing
    assert bins.a.sum() == 197
    assert bin_ids(bins, x, _ties(200))[-4:].tolist() == [-1] * 4


def test_a_constant_feature_still_has_somewhere_for_other_values() -> None:
    """With only atoms, every other value falls into one bin with a = 1."""
    bins = fit_bins(np.full(300, 7.0))
    assert bins.a.tolist() == [1, 300]
    assert bin_ids(bins, np.array([7.0, 3.0]), np.array([0.5, 0.5])).tolist() == [1, 0]


@given(
    values=st.lists(
        st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=5, max_size=300
    ),
)
def test_reference_rows_fall_into_their_bins_as_counted(values: list[float]) -> None:
    """Σa = n + 1, and the reference rows themselves fill each bin with its count (the last quantile bin with one less)."""
    x = np.array(values)
    ties = _ties(len(x))
    bins = fit_bins(x, ties=ties)
    ids = bin_ids(bins, x, ties)
    binned = ids[ids >= 0]
    assert bins.a.sum() == len(binned) + 1
    expected = bins.a.copy()
    expected[len(bins.edges)] -= 1
    assert np.bincount(binned, minlength=len(bins)).tolist() == expected.tolist()


def test_rising_transforms_change_nothing() -> None:
    """Bins are cut by rank: the exponential of a feature falls into the same bins."""
    draw = np.random.default_rng(3)
    x, new = draw.normal(size=500), draw.normal(size=100)
    ties = np.full(100, 0.5)
    plain, risen = fit_bins(x), fit_bins(np.exp(x))
    assert bin_ids(plain, new, ties).tolist() == bin_ids(risen, np.exp(new), ties).tolist()


def test_categories_keep_the_frequent_and_pool_the_rest() -> None:
    """At least five rows make a category; rare and new ones are `other`, which has n + 1 − Σ."""
    values = ["a"] * 10 + ["b"] * 5 + ["c"] * 2 + [None] * 6
    bins = fit_categories(values)
    assert bins.categories == ("a", "b")
    assert bins.a.tolist() == [10, 5, 3, 6]
    assert bins.a.sum() == len(values) + 1
    assert category_ids(bins, ["b", "never", None]).tolist() == [1, 2, 3]


def test_a_category_is_known_again_by_its_hash() -> None:
    """Eight bytes, big-endian."""
    assert category_hash("a") == int.from_bytes(blake2b(b"a", digest_size=8).digest(), "big")


def test_no_more_than_49_categories_are_kept() -> None:
    """The 50th falls into `other`."""
    assert len(fit_categories([str(number % 60) for number in range(600)]).categories) == 49


def test_random_rows_fill_the_bins_as_the_law_says() -> None:
    """New rows of the same distribution fall into ten equal bins about equally."""
    draw = np.random.default_rng(4)
    bins = fit_bins(draw.normal(size=5000))
    counts = np.bincount(bin_ids(bins, draw.normal(size=5000), np.zeros(5000)), minlength=10)
    assert counts == pytest.approx(np.full(10, 500), abs=150)
