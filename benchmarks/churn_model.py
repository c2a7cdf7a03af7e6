"""The churn records and (DictVectorizer, LogisticRegression) trained on them; as a script: its pickle, for the peer that wants one.

Usage: churn_model.py OUT      run by the interpreter that will load the pickle
"""

from __future__ import annotations

import csv
import pickle
import sys
from pathlib import Path
from typing import Any

from places import DATA
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression


def train() -> tuple[Any, Any]:
    """The fitted pair; the same data and solver give the same weights everywhere."""
    rows, truth = churn_rows()
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression(solver="liblinear", C=1.0, random_state=1)
    model.fit(vectorizer.fit_transform(rows[:5000]), truth[:5000])
    return vectorizer, model


def churn_rows() -> tuple[list[dict[str, Any]], list[int]]:
    """The 7,043 customers as records of 19 fields, and whether each left. Raises FileNotFoundError without the data."""
    with (DATA / "telco" / "Telco-Customer-Churn.csv").open(newline="") as source:
        table = list(csv.DictReader(source))
    return [_customer(row) for row in table], [int(row["Churn"] == "Yes") for row in table]


def _customer(row: dict[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {key: value for key, value in row.items() if key not in {"customerID", "Churn"}}
    record["SeniorCitizen"] = int(row["SeniorCitizen"])
    record["tenure"] = int(row["tenure"])
    record["MonthlyCharges"] = float(row["MonthlyCharges"])
    record["TotalCharges"] = float(row["TotalCharges"].strip() or 0.0)
    return record


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(pickle.dumps(train()))
