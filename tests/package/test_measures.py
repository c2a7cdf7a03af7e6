"""Metrics, figures and card of a model on held-out rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from relevo.domain.decision import ArgmaxDecision, Decision, ThresholdDecision
from relevo.domain.manifest import FORMAT, Lineage, Manifest, Parity
from relevo.domain.preprocessing import Column, MatrixSteps
from relevo.domain.signature import Field, FieldKind, Output, RecordInput, Task
from relevo.errors import InvalidLabelError
from relevo.package.card.model_card import plain, write_card
from relevo.package.card.plots import draw_figures
from relevo.package.metrics import confusion, measure, roc_auc
from relevo.package.targets import label_text, read_truth


def _manifest(output: Output, decision: Decision | None = None, **changes: Any) -> Manifest:
    return Manifest(
        format=FORMAT,
        name="m",
        input=RecordInput(fields=(Field(name="x", kind=FieldKind.NUMBER, example=1.0),)),
        steps=MatrixSteps(input="x", columns=(Column(field="x"),)),
        output=output,
        decision=decision or ArgmaxDecision(),
        lineage=Lineage(framework="test", parity=Parity(reference="none", samples="user")),
        **changes,
    )


THREE = Output(name="s", labels=("a", "b", "c"))
TWO = Output(name="s", labels=("no", "yes"))


def _scores(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    raw = draw.random((rows, classes)) + 0.01
    scores = raw / raw.sum(axis=1, keepdims=True)
    return scores, (draw.random(rows)[:, None] > scores.cumsum(axis=1)).sum(axis=1)


def test_classification_figures_equal_the_reference() -> None:
    """Accuracy, F1, log-loss, precision and recall equal those of scikit-learn."""
    scores, truth = _scores(400, 3)
    metrics = measure(_manifest(THREE), scores, truth)
    predicted = scores.argmax(axis=1)
    assert metrics["accuracy"]["value"] == pytest.approx(reference.accuracy_score(truth, predicted), abs=1e-6)
    assert metrics["macro_f1"] == pytest.approx(reference.f1_score(truth, predicted, average="macro"), abs=1e-6)
    assert metrics["log_loss"] == pytest.approx(reference.log_loss(truth, scores), abs=1e-6)
    precision, recall, _, rows = reference.precision_recall_fscore_support(truth, predicted)
    assert [entry["precision"] for entry in metrics["per_class"]] == pytest.approx(precision, abs=1e-6)
    assert [entry["recall"] for entry in metrics["per_class"]] == pytest.approx(recall, abs=1e-6)
    assert [entry["rows"] for entry in metrics["per_class"]] == rows.tolist()
    assert "roc_auc" not in metrics


@given(scores=st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=2, max_size=50))
def test_the_area_under_roc_equals_the_reference(scores: list[tuple[float, bool]]) -> None:
    """The area equals that of scikit-learn; ties count half."""
    values, positive = np.array([value for value, _ in scores]), np.array([hit for _, hit in scores])
    if positive.all() or not positive.any():
        return
    assert roc_auc(values, positive) == pytest.approx(reference.roc_auc_score(positive, values))


def test_confusion_counts_prediction_by_truth() -> None:
    """Rows are predictions, columns are the truth."""
    assert confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]


def test_regression_figures_equal_the_reference() -> None:
    """MAE, RMSE and R² equal those of scikit-learn; R² is absent for a constant truth."""
    draw = np.random.default_rng(0)
    truth, values = draw.normal(size=50), draw.normal(size=(50, 1))
    metrics = measure(_manifest(Output(name="v", task=Task.REGRESSION)), values, truth)
    assert metrics["mae"] == pytest.approx(reference.mean_absolute_error(truth, values), abs=1e-6)
    assert metrics["r2"] == pytest.approx(reference.r2_score(truth, values), abs=1e-6)
    assert measure(_manifest(Output(name="v", task=Task.REGRESSION)), values, np.ones(50))["r2"] is None


def test_truth_is_read_by_class_and_by_label() -> None:
    """NumPy numbers, integral floats, booleans and display names are found; the model's own names take precedence."""
    output = Output(name="s", labels=("zero", "one"))
    assert read_truth([np.int64(1), 0.0, "one", "0"], output, ("0", "1"), 4).tolist() == [1, 0, 1, 0]
    assert read_truth([np.True_, False], output, ("False", "True"), 2).tolist() == [1, 0]
    swapped = Output(name="s", labels=("1", "0"))
    assert read_truth([0, 1], swapped, ("0", "1"), 2).tolist() == [0, 1]
    assert label_text(np.float64(2.5)) == "2.5"
    with pytest.raises(InvalidLabelError, match="zero, one; row 1 of the truth says 'two'"):
        read_truth(["two"], output, ("0", "1"), 1)


def test_a_truth_that_counts_is_taken_where_the_model_does_not_name_its_classes() -> None:
    """0 and 1 are the first and the second label of a model without class names; other numbers are rejected with their row."""
    output = Output(name="scores", labels=("no", "yes"))
    assert read_truth([1, 0, 1.0], output, (), 3).tolist() == [1, 0, 1]
    assert read_truth(["yes", "no"], output, (), 2).tolist() == [1, 0]
    for truth, row in (([0, 1, 2], 1), (["yes", 1], 2)):
        with pytest.raises(InvalidLabelError, match=f"row {row} of the truth"):
            read_truth(truth, output, (), len(truth))


def test_figures_are_drawn_the_same_each_time() -> None:
    """PNG files without dates: confusion, calibration and, for two labels, ROC."""
    scores, truth = _scores(300, 2)
    manifest = _manifest(TWO)
    metrics = measure(manifest, scores, truth)
    figures = draw_figures(manifest, metrics, scores, truth)
    assert figures == draw_figures(manifest, metrics, scores, truth)
    assert sorted(figures) == ["figures/calibration.png", "figures/confusion.png", "figures/roc.png"]
    assert all(content.startswith(b"\x89PNG") for content in figures.values())


def test_labels_of_any_script_are_drawn() -> None:
    """A dollar sign is not parsed as a formula, and missing glyphs are no error."""
    scores, truth = _scores(60, 3)
    manifest = _manifest(Output(name="s", labels=("$5$ \\frac", "数字", "ñandú")))
    assert draw_figures(manifest, measure(manifest, scores, truth), scores, truth)


def test_the_card_says_what_there_is_and_what_is_lacking() -> None:
    """Metrics with their interval, the decision, the missing parity and the missing drift reference."""
    scores, truth = _scores(100, 2)
    manifest = _manifest(TWO, ThresholdDecision(accept_at=0.9, reject_at=0.1), description="Churn of customers")
    card = write_card(manifest, measure(manifest, scores, truth), ["figures/roc.png"], profiled=False)
    for text in (
        "95 % interval",
        "yes from a score of 0.9 on",
        "*uncertain*",
        "NOT PROVED",
        "No drift profile",
        "![roc]",
        "Churn",
    ):
        assert text in card


def test_the_card_of_an_unmeasured_model_says_so() -> None:
    """Without a truth the card has no metrics."""
    assert "Nothing: no truth was given" in write_card(_manifest(TWO), {}, [], profiled=False)


@given(text=st.text(max_size=40))
def test_names_are_text_in_the_card_and_nothing_else(text: str) -> None:
    """No name opens a tag, a link or a table cell, or begins a new line."""
    shown = plain(text)
    assert "\n" not in shown
    for sign in "<>[|`":
        assert shown.replace("\\\\", "").count(sign) == shown.replace("\\\\", "").count("\\" + sign)
