"""What the churn example promises beside what its README shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from examples.figures import Figure

if TYPE_CHECKING:
    from examples.running import Served

DATA = "telco/Telco-Customer-Churn.csv"


def figures(metrics: dict[str, Any]) -> list[Figure]:
    """What the course that made these data known reaches, on customers the training never saw."""
    return [Figure(name="ROC AUC", reached=metrics["roc_auc"], promised=0.84)]


def check(served: Served) -> list[str]:
    """Nothing yet."""
    del served
    return []
