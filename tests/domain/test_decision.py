"""Decision rules: scores to probabilities, probabilities to a label or *uncertain*, including the limits."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relevo.domain.decision import ArgmaxDecision, ThresholdDecision, decide, probabilities_of
from relevo.domain.signature import Output, Task
from relevo.errors import OutputNotFiniteError

TWO = Output(name="y", labels=("no", "yes"))
THREE = Output(name="y", labels=("a", "b", "c"))


def by_threshold(share: float, accept: float, reject: float) -> tuple[str | None, bool, float | None]:
    result = decide(np.array([[share]]), TWO, ThresholdDecision(accept_at=accept, reject_at=reject))[0]
    return result.predicted_label, result.uncertain, result.confidence


@pytest.mark.parametrize(
    ("share", "label", "uncertain"),
    [
        (0.85, "yes", False),
        (math.nextafter(0.85, 0), "yes", True),
        (0.5, "yes", True),
        (math.nextafter(0.5, 0), "no", True),
        (math.nextafter(0.15, 1), "no", True),
        (0.15, "no", False),
        (0.0, "no", False),
        (1.0, "yes", False),
    ],
)
def test_the_edges_of_the_bands_belong_to_the_sure_sides(share: float, label: str, *, uncertain: bool) -> None:
    """At `accept` and above the second label is certain, at `reject` and below the first; between, the likelier one is uncertain."""
    assert by_threshold(share, 0.85, 0.15)[:2] == (label, uncertain)


def test_outside_the_bands_the_rule_names_the_label() -> None:
    """With `accept` below one half, a score above it gives the second label, though the first is likelier."""
    assert by_threshold(0.35, 0.3, 0.1) == ("yes", False, 0.35)
    assert by_threshold(0.65, 0.9, 0.7)[:2] == ("no", False)


def test_equal_bands_leave_no_uncertain() -> None:
    """With accept = reject the rule is a plain threshold."""
    assert by_threshold(0.7, 0.7, 0.7)[:2] == ("yes", False)
    assert by_threshold(math.nextafter(0.7, 0), 0.7, 0.7)[:2] == ("no", False)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_bands_are_monotonous(share: float, one: float, other: float) -> None:
    """A higher score never moves a result from the second label towards the first."""
    reject, accept = sorted((one, other))
    rank = {("no", False): 0, ("no", True): 1, ("yes", True): 2, ("yes", False): 3}
    lower, higher = (rank[by_threshold(value, accept, reject)[:2]] for value in sorted((share, one)))  # type: ignore[index]  # labels are set
    assert lower <= higher


@pytest.mark.parametrize(("least", "uncertain"), [(0.0, False), (0.5, False), (math.nextafter(0.5, 1), True)])
def test_argmax_is_uncertain_below_its_least(least: float, *, uncertain: bool) -> None:
    """The most probable label is the result; below `least` it is uncertain, at `least` it is not."""
    result = decide(np.array([[0.2, 0.5, 0.3]]), THREE, ArgmaxDecision(min_confidence=least))[0]
    assert (result.predicted_label, result.index, result.confidence, result.uncertain) == ("b", 1, 0.5, uncertain)
    assert result.probabilities == (0.2, 0.5, 0.3)


_scores = hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-(2.0**100), 2.0**100, width=32))


@given(_scores)
def test_softmax_gives_probabilities_for_any_finite_scores(scores: np.ndarray) -> None:
    """For any finite scores the probabilities are finite, sum to one, and keep the order, without overflow."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = probabilities_of(scores, Output(name="y", labels=("a", "b", "c"), activation="softmax"))
    assert np.isfinite(table).all()
    assert np.allclose(table.sum(axis=1), 1)
    assert (table[np.arange(len(table)), scores.argmax(axis=1)] == table.max(axis=1)).all()


@given(st.floats(-1e300, 1e300))
def test_sigmoid_is_exact_at_both_tails(score: float) -> None:
    """The sigmoid of any finite score is in 0..1, and two labels share one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = probabilities_of(np.array([[score]]), Output(name="y", labels=("a", "b"), activation="sigmoid"))[0]
    assert 0 <= second <= 1
    assert first + second == 1
    assert math.isclose(second, 1 / (1 + math.exp(-score)) if score > -700 else 0.0, abs_tol=1e-12)


def test_a_column_of_scores_may_lie_flat() -> None:
    """Scores of shape (n,) are one column."""
    assert [result.predicted_label for result in decide(np.array([0.1, 0.9]), TWO, ArgmaxDecision())] == ["no", "yes"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("output", [THREE, Output(name="y", task=Task.REGRESSION)])
def test_what_is_not_finite_is_no_answer(bad: float, output: Output) -> None:
    """NaN and infinity are an error of the model, for labels and for values."""
    with pytest.raises(OutputNotFiniteError):
        decide(np.array([[0.1, bad, 0.2], [0.1, 0.2, 0.7]]) if output is THREE else np.array([bad, 1.0]), output, ArgmaxDecision())


def test_a_regression_gives_its_value_alone() -> None:
    """A regression has no label and no probabilities."""
    result: Any = decide(np.array([[812.5]], dtype=np.float32), Output(name="y", task=Task.REGRESSION), ArgmaxDecision())[0]
    assert (result.value, result.predicted_label, result.probabilities, result.uncertain) == (812.5, None, (), False)


@given(_scores)
def test_a_row_is_decided_alike_alone_and_among_others(scores: np.ndarray) -> None:
    """The result of a row does not depend on the other rows."""
    output = Output(name="y", labels=("a", "b", "c"), activation="softmax")
    together = decide(scores, output, ArgmaxDecision(min_confidence=0.5))
    assert together == [
        decide(scores[index : index + 1], output, ArgmaxDecision(min_confidence=0.5))[0] for index in range(len(scores))
    ]
