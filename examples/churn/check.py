"""What the churn example promises beside what its README shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from examples.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.running import Served

DATA = "telco/Telco-Customer-Churn.csv"


def figures(metrics: dict[str, Any]) -> list[Figure]:
    """On customers the training never saw."""
    return [Figure(name="ROC AUC", reached=metrics["roc_auc"], promised=0.84)]


def check(served: Served) -> list[str]:
    """A client of the old service, unmodified, reads what it always read, one customer at a time or many."""
    return [*_old_client(served), *_batch(served)]


def _old_client(served: Served) -> Iterator[str]:
    """The old client sent one customer and read two fields: a probability, and the decision at a half."""
    answer = json.loads(served.run(f"curl --fail --silent --data @samples/customer.json {served.url}/predict"))
    probability, decision = answer.get("churn_probability"), answer.get("churn")
    if not isinstance(probability, float) or decision is not (probability >= 0.5):
        yield f"churn_probability and churn are {probability!r} and {decision!r}"


def _batch(served: Served) -> Iterator[str]:
    answers = json.loads((served.folder / "answers.json").read_bytes())
    if [answer["churn"] for answer in answers] != [True, False]:
        yield f"the two customers of samples/customers.json are answered {[answer['prediction'] for answer in answers]}"
