"""The proof that the package answers as the original did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from relevo.domain.decision import Argmax
from relevo.errors import ParityFailed
from relevo.package.convert.scikit.sklearn import convert_sklearn
from relevo.package.parity import DOUBLE, default_tolerance, difference, prove, served_scores
from relevo.package.samples import Samples, take_samples

if TYPE_CHECKING:
    from relevo.package.convert.converted import Converted


@pytest.fixture(scope="module")
def converted() -> tuple[Converted, Samples]:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(100, 2))
    model = LogisticRegression().fit(features, features.sum(axis=1) > 0)
    samples = take_samples(features)
    return convert_sklearn(model, samples), samples


def test_differences_are_counted_against_the_size_of_the_score() -> None:
    """A millionth of a million is a difference of 1e-6, a shape or a NaN that differs is infinite."""
    assert difference(np.array([[1_000_001.0]]), np.array([[1_000_000.0]]))[0] == pytest.approx(1e-6)
    assert difference(np.array([[0.1]]), np.array([[0.2]]))[0] == pytest.approx(0.1)
    assert np.isinf(difference(np.zeros((2, 3)), np.zeros((2, 2)))).all()
    assert np.isinf(difference(np.array([[np.nan]]), np.array([[0.0]]))).all()


def test_the_worst_sample_is_named(converted: tuple[Converted, Samples]) -> None:
    """A single wrong answer among a hundred stops everything, and is pointed at."""
    model, samples = converted
    served = served_scores(model, samples)
    served[42] += 0.5
    with pytest.raises(ParityFailed) as refusal:
        prove(model, served, decision=Argmax())
    assert refusal.value.facts["example"] == 42
    assert refusal.value.facts["difference"] == pytest.approx(0.5)


def test_labels_that_turn_within_the_tolerance_are_counted(converted: tuple[Converted, Samples]) -> None:
    """Agreement is reported even where the scores pass."""
    model, samples = converted
    assert model.outputs is not None
    close = replace(model, outputs=np.full_like(model.outputs, 0.5 - 1e-7))
    proof = prove(close, np.full_like(model.outputs, 0.5 + 1e-7), decision=Argmax(), tolerance=1e-5)
    assert proof.labels_agreeing == 0.0
    assert proof.largest_difference == pytest.approx(2e-7)
    assert len(samples) == proof.rows


def test_without_the_originals_answers_there_is_no_proof(converted: tuple[Converted, Samples]) -> None:
    """The manifest then says `none`, and never pretends."""
    model, samples = converted
    proof = prove(replace(model, outputs=None), served_scores(model, samples), decision=Argmax())
    assert (proof.against, proof.rows) == ("none", 0)


def test_double_precision_is_held_to_its_own_tolerance(converted: tuple[Converted, Samples]) -> None:
    """A float64 graph may differ by 1e-5 and no more."""
    assert default_tolerance(converted[0]) == DOUBLE
