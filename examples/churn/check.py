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
    return [*_old_client(served), *_with_id(served), *_batch(served)]


def _old_client(served: Served) -> Iterator[str]:
    """The old client sent one customer and read two fields: a probability, and the decision at a half."""
    answer = json.loads(served.run(f"curl --fail --silent --data @samples/customer.json {served.url}/predict"))
    probability, decision = answer.get("churn_probability"), answer.get("churn")
    if not isinstance(probability, float) or decision is not (probability >= 0.5):
        yield f"churn_probability and churn are {probability!r} and {decision!r}"


def _with_id(served: Served) -> Iterator[str]:
    """The old client sent the customer's id as well, which the model never saw: the same answer, and a warning."""
    plain, told = (
        json.loads(served.run(f"curl --fail --silent --data @samples/{name}.json {served.url}/predict"))
        for name in ("customer", "customer_with_id")
    )
    if told["churn_probability"] != plain["churn_probability"]:
        yield f"with customerid the answer is {told['churn_probability']!r} and not {plain['churn_probability']!r}"
    if "warnings" in plain or not any("customerid" in one for one in told.get("warnings", ())):
        yield f"warned of {plain.get('warnings')!r} without, and {told.get('warnings')!r} with customerid"


def _batch(served: Served) -> Iterator[str]:
    answers = json.loads((served.folder / "answers.json").read_bytes())
    if [answer["churn"] for answer in answers] != [True, False]:
        yield f"the two customers of samples/customers.json are answered {[answer['prediction'] for answer in answers]}"
