"""The training: one column for each word and each number, and a logistic regression on them.

    record ─ DictVectorizer ─► contract=one_year 0|1, …, tenure 41.0 ─ StandardScaler ─ LogisticRegression ─► probability

The scaler takes nothing away: a record is answered the same, but the solver finds the best weights in a hundredth of the steps.
"""

from __future__ import annotations

from typing import Any

from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


def train(run: Any) -> Pipeline:
    """run.train.x: records; run.train.y: 1 who left, 0 who stayed."""
    run.progress(0, 1)
    model = pipeline(run.seed).fit(run.train.x, run.train.y)
    run.progress(1, 1, accuracy=model.score(run.validation.x, run.validation.y))
    return model


def pipeline(seed: int) -> Pipeline:
    """What is fitted; the notebook fits the same."""
    return make_pipeline(
        DictVectorizer(sparse=False), StandardScaler(), LogisticRegression(C=1.0, max_iter=1000, random_state=seed)
    )
