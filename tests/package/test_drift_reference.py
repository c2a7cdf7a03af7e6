"""The drift reference: computing, writing and reading."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import relevo
from relevo.errors import PackageError
from relevo.package.drift_reference import (
    DriftReference,
    NumericProfile,
    display_counts,
    profile_bytes,
    profile_category,
    profile_number,
    read_profile,
)
from relevo.package.npz import archive_bytes

if TYPE_CHECKING:
    from relevo.package.package import Package


def test_a_normal_feature_has_the_moments_and_quantiles_of_one() -> None:
    """Mean 0, sd 1, no skew, no excess kurtosis; the median is central; the 100 display bins are equally filled."""
    x = np.random.default_rng(0).normal(size=20_000)
    column = profile_number("x", x, "salt")
    assert column.moments[:4] == pytest.approx([0, 1, 0, 0], abs=0.06)
    assert column.moments[4:].tolist() == [0, 0]
    assert column.quantiles[49] == pytest.approx(0, abs=0.03)
    assert column.display.sum() == 20_000
    assert column.display[[0, 101]].tolist() == [100, 100]
    assert column.display[2:100].tolist() == pytest.approx([200] * 98, abs=2)
    assert column.bins.a.sum() == 20_001


def test_display_counts_hold_every_row_once() -> None:
    """Under, over and missing have their own bins, and an edge belongs to the bin below it."""
    edges = np.arange(101.0)
    counts = display_counts(edges, np.array([-1.0, 0.0, 1.0, 1.5, 100.0, 100.5, np.nan]))
    assert [counts[index] for index in (0, 1, 2, 100, 101, 102)] == [1, 2, 1, 1, 1, 1]
    assert counts.sum() == 7


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.one_of(st.just(float("nan")), st.floats(-1e9, 1e9), st.just(0.0)), min_size=1, max_size=80))
def test_any_column_has_a_finite_profile(values: list[float]) -> None:
    """Constant, empty, incomplete or extreme columns have a profile, without a warning, that counts each row once."""
    column = profile_number("x", np.array(values), "salt")
    assert np.isfinite(column.moments).all()
    assert np.isfinite(column.quantiles).all()
    assert column.display.sum() == len(values)


def test_a_whole_numbered_feature_with_zeros_is_told_as_such() -> None:
    """The share of zeros and the integer flag are set."""
    column = profile_number("x", np.array([0.0, 0.0, 1.0, 3.0]), "salt")
    assert column.moments[4:].tolist() == [0.5, 1.0]


def test_categories_are_counted_and_hashed() -> None:
    """Categories seen once are counted, and all are hashed."""
    column = profile_category("c", ["a"] * 6 + ["b", "c", None])
    assert (column.once, column.distinct, len(column.hashes)) == (2, 3, 3)
    assert (np.diff(column.hashes.astype(object)) > 0).all()


def test_a_profile_comes_back_as_it_went(digits_package: Package) -> None:
    """Writing, reading and writing again gives the same bytes."""
    data = digits_package.read("profile.npz")
    profile = read_profile(data)
    assert profile_bytes(profile) == data
    assert profile.rows == 597


def test_pictures_are_profiled_by_their_statistics_and_outputs(digits_package: Package) -> None:
    """Grey arrays have the eight statistics that need neither colour nor file, and a log-probability per class."""
    profile = read_profile(digits_package.read("profile.npz"))
    names = [column.name for column in profile.numeric]
    assert "image:brightness" in names
    assert "image:colourfulness" not in names
    assert "image:log_bytes_per_pixel" not in names
    assert sum(name.startswith("output:log_p:") for name in names) == 10
    assert [column.name for column in profile.categorical] == ["output:label"]


def test_held_out_predictions_are_kept(digits_package: Package, digits: Any) -> None:
    """Truth, scores and loss of each row are stored, and the joint frequencies of prediction and truth."""
    held_out = read_profile(digits_package.read("profile.npz")).held_out
    assert held_out["truth"].tolist() == digits.truth.tolist()
    assert held_out["scores"].dtype == np.float32
    assert held_out["scores"].shape == (597, 10)
    assert held_out["confusion"].sum() == pytest.approx(1)
    assert np.trace(held_out["confusion"]) == pytest.approx(digits_package.metrics["accuracy"]["value"], abs=1e-6)
    assert held_out["loss"].mean() == pytest.approx(digits_package.metrics["log_loss"], abs=1e-6)


def test_records_are_profiled_field_by_field() -> None:
    """Every number of a record has a column under its own name."""
    data = load_breast_cancer()
    model = LogisticRegression(max_iter=5000).fit(data.data[:300], data.target[:300])
    package = relevo.pack(model, name="cancer", samples=data.data[300:], truth=data.target[300:], features=data.feature_names)
    profile = read_profile(package.read("profile.npz"))
    names = [column.name for column in profile.numeric]
    assert {f"field:{name}" for name in data.feature_names} <= set(names)
    column: NumericProfile = profile.numeric[names.index("field:mean radius")]
    assert column.limits[:2].tolist() == [data.data[300:, 0].min(), data.data[300:, 0].max()]


def test_an_empty_profile_is_still_one() -> None:
    """A reference without columns can be written and read."""
    assert read_profile(profile_bytes(DriftReference(rows=0, salt="", numeric=(), categorical=()))).numeric == ()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_profile_is_refused_or_read(digits_package: Package, data: st.DataObject) -> None:
    """Damaged bytes give a reference or a PackageError, and no other error."""
    content = bytearray(digits_package.read("profile.npz"))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(PackageError):
        read_profile(bytes(content))


def test_an_archive_of_other_arrays_is_no_profile() -> None:
    """Rejects an archive without the arrays of a reference."""
    with pytest.raises(PackageError, match="not a profile"):
        read_profile(archive_bytes({"x": np.zeros(3)}))
