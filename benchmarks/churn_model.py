"""Train (DictVectorizer, LogisticRegression) on the churn records; as a script: write it as a pickle, for the peer that wants one.

Usage: churn_model.py OUT      run by the interpreter that will load the pickle
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from jobs import churn_rows
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression


def train() -> tuple[Any, Any]:
    """The fitted pair; the same data and solver give the same weights everywhere."""
    rows, truth = churn_rows()
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression(solver="liblinear", C=1.0, random_state=1)
    model.fit(vectorizer.fit_transform(rows[:5000]), truth[:5000])
    return vectorizer, model


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(pickle.dumps(train()))
