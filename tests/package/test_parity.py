"""The parity check of the converted model against the original."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from relevo.converters.sklearn.convert import convert_sklearn
from relevo.domain.decision import ArgmaxDecision, ThresholdDecision
from relevo.domain.signature import Output
from relevo.errors import ParityError
from relevo.importing.import_model import import_model
from relevo.package.parity import DOUBLE, check_parity, default_tolerance, difference, score_as_served
from relevo.package.samples import Samples, normalize_samples

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.conversion import ConvertedModel


@pytest.fixture(scope="module")
def converted() -> tuple[ConvertedModel, Samples]:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(100, 2))
    model = LogisticRegression().fit(features, features.sum(axis=1) > 0)
    samples = normalize_samples(features)
    return convert_sklearn(model, samples), samples


def test_differences_are_counted_against_the_size_of_the_score() -> None:
    """Differences are relative for large scores, and infinite for another shape or NaN."""
    assert difference(np.array([[1_000_001.0]]), np.array([[1_000_000.0]]))[0] == pytest.approx(1e-6)
    assert difference(np.array([[0.1]]), np.array([[0.2]]))[0] == pytest.approx(0.1)
    assert np.isinf(difference(np.zeros((2, 3)), np.zeros((2, 2)))).all()
    assert np.isinf(difference(np.array([[np.nan]]), np.array([[0.0]]))).all()


def test_the_worst_sample_is_named(converted: tuple[ConvertedModel, Samples]) -> None:
    """One wrong sample of a hundred is an error that names it."""
    model, samples = converted
    served = score_as_served(model, samples)
    served[42] += 0.5
    with pytest.raises(ParityError) as refusal:
        check_parity(model, served, decision=ArgmaxDecision())
    assert refusal.value.facts["example"] == 42
    assert refusal.value.facts["difference"] == pytest.approx(0.5)


def test_labels_that_turn_within_the_tolerance_are_counted(converted: tuple[ConvertedModel, Samples]) -> None:
    """The label agreement is reported even where the scores pass."""
    model, samples = converted
    assert model.outputs is not None
    close = replace(model, outputs=np.full_like(model.outputs, 0.5 - 1e-7), predicted=np.zeros(len(samples), dtype=np.intp))
    proof = check_parity(close, np.full_like(model.outputs, 0.5 + 1e-7), decision=ArgmaxDecision(), tolerance=1e-5)
    assert proof.labels_agreeing == 0.0
    assert proof.largest_difference == pytest.approx(2e-7)
    assert len(samples) == proof.rows


def test_without_the_originals_answers_there_is_no_proof(converted: tuple[ConvertedModel, Samples]) -> None:
    """Without outputs of the original the manifest says `none`."""
    model, samples = converted
    proof = check_parity(replace(model, outputs=None), score_as_served(model, samples), decision=ArgmaxDecision())
    assert (proof.reference, proof.rows) == ("none", 0)


def test_double_precision_is_held_to_its_own_tolerance(converted: tuple[ConvertedModel, Samples]) -> None:
    """The tolerance of a float64 graph is 1e-5."""
    assert default_tolerance(converted[0]) == DOUBLE


def test_an_answer_that_predict_does_not_give_stops_everything(converted: tuple[ConvertedModel, Samples]) -> None:
    """A label that differs from `predict` is an error although scores agree; a rule of the user is not compared."""
    model, samples = converted
    served = score_as_served(model, samples)
    assert model.predicted is not None
    assert check_parity(model, served, decision=ArgmaxDecision()).labels_agreeing == 1.0
    surest = int(np.abs(served[:, -1] - 0.5).argmax())
    other = model.predicted.copy()
    other[surest] = 1 - other[surest]
    with pytest.raises(ParityError, match="its original's predict") as refusal:
        check_parity(replace(model, predicted=other), served, decision=ArgmaxDecision())
    assert refusal.value.facts["example"] == surest
    assert (
        check_parity(
            replace(model, predicted=other), served, decision=ThresholdDecision(accept_at=0.8, reject_at=0.2)
        ).labels_agreeing
        == 1.0
    )


def test_large_logits_are_compared_as_they_are_served(converted: tuple[ConvertedModel, Samples]) -> None:
    """A relative difference of 1e-6 in a large logit changes the probability."""
    model, _ = converted
    logits = np.array([[1_000_000.0, 1_000_000.0]])
    output = Output(name="y", labels=("no", "yes"), activation="softmax")
    large = replace(model, outputs=logits, output=output, predicted=None)
    assert check_parity(large, logits, decision=ArgmaxDecision()).rows == 1
    with pytest.raises(ParityError) as refusal:
        check_parity(large, logits + np.array([[0.0, 1.0]]), decision=ArgmaxDecision())
    assert refusal.value.facts["difference"] == pytest.approx(1 / (1 + np.exp(-1)) - 0.5)


@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
@pytest.mark.parametrize(
    "make",
    [
        LogisticRegression(),
        SVC(probability=True, random_state=0),
        SVC(decision_function_shape="ovo"),
        FixedThresholdClassifier(LogisticRegression(), threshold=0.8),
        make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_is_proved_is_the_originals_predict(make: Any, tmp_path: Path) -> None:
    """In process and in the sandbox, the parity check uses the labels of the original's `predict`."""
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(60, 2))
    classes = 2 if isinstance(make, FixedThresholdClassifier) else 3
    truth = np.array(["high", "low", "middle"])[
        (rows @ [1.0, 2.0] + draw.normal(size=60) > 0).astype(int) + (rows[:, 0] > 1) * (classes - 2)
    ]
    model = make.fit(rows, truth)
    live = convert_sklearn(model, normalize_samples(rows))
    assert live.predicted is not None
    assert [live.output.labels[index] for index in live.predicted] == model.predict(rows).tolist()
    file = tmp_path / "model.pickle"
    file.write_bytes(pickle.dumps(model))
    package = import_model(file, name="proved", samples=rows, trust_pickle=True, figures=False)
    assert package.manifest.lineage.parity.labels_agreeing == 1.0
    names = [field.name for field in package.manifest.input.fields]  # type: ignore[union-attr]  # a record
    labels = [package.predict(dict(zip(names, map(float, row), strict=True))).predicted_label for row in rows]
    assert labels == model.predict(rows).tolist()
