"""Extra fields of a response: every source, and what is rejected."""

from __future__ import annotations

import numpy as np
import pytest

from relevo.domain.decision import ArgmaxDecision, ThresholdDecision, decide
from relevo.domain.extra_fields import ExtraFields, problem_of
from relevo.domain.signature import Output, Task

TWO = Output(name="y", labels=("stays", "leaves"))
VALUE = Output(name="y", task=Task.REGRESSION)


def test_every_fact_is_read_off_the_answer() -> None:
    """Standard fields under another name, the probability of a label, and whether it is the prediction."""
    fields = ExtraFields(
        {
            "verdict": "prediction",
            "number": "class",
            "sure": "confidence",
            "unsure": "uncertain",
            "churn_probability": "probability:leaves",
            "churn": "is:leaves",
            "loyal": "is:stays",
        },
        TWO,
    )
    (low, high) = decide(np.array([[0.75, 0.25], [0.1, 0.9]]), TWO, ThresholdDecision(accept_at=0.8, reject_at=0.1))
    assert fields.of(low) == {
        "verdict": "stays",
        "number": 0,
        "sure": 0.75,
        "unsure": True,
        "churn_probability": 0.25,
        "churn": False,
        "loyal": True,
    }
    assert (fields.of(high)["churn_probability"], fields.of(high)["churn"], fields.of(high)["loyal"]) == (0.9, True, False)


def test_a_label_may_hold_a_colon() -> None:
    """Everything after the first colon is the label."""
    output = Output(name="y", labels=("a:b", "c"))
    assert problem_of({"it": "is:a:b"}, output.task, output.labels) is None
    assert ExtraFields({"it": "is:a:b"}, output).of(decide(np.array([[0.9, 0.1]]), output, ArgmaxDecision())[0]) == {"it": True}


def test_a_regression_tells_its_value() -> None:
    """A regression has one source, its value."""
    (answer,) = decide(np.array([[12.5]]), VALUE, ArgmaxDecision())
    assert ExtraFields({"rent": "prediction"}, VALUE).of(answer) == {"rent": 12.5}
    assert "the answer is a number" in str(problem_of({"rent": "confidence"}, VALUE.task, ()))


@pytest.mark.parametrize(
    ("name", "fact", "said"),
    [
        ("query_id", "prediction", "every answer has"),
        ("error", "prediction", "every answer has"),
        ("", "prediction", "1 to 64"),
        ("x" * 65, "prediction", "1 to 64"),
        ("a\nb", "prediction", "printable"),
        ("churn", "is", "must be prediction, class"),
        ("churn", "probabilities", "must be prediction, class"),
        ("churn", "was:leaves", "must be prediction, class"),
        ("churn", "is:left", "'left'; there are stays, leaves"),
    ],
)
def test_a_field_that_cannot_be_is_refused_with_a_reason(name: str, fact: str, said: str) -> None:
    """Rejects reserved and unprintable names, unknown sources and unknown labels."""
    assert said in str(problem_of({name: fact}, TWO.task, TWO.labels))


def test_labels_not_known_yet_are_believed() -> None:
    """Before a training the labels may be unknown; the manifest is validated later."""
    assert problem_of({"churn": "is:anything"}, Task.CLASSIFICATION, None) is None
