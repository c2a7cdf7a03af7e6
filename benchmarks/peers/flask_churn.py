"""Churn as courses teach it: a pickled (DictVectorizer, LogisticRegression), Flask, `predict_proba` for one record a request.

The pickle's path comes in CHURN_PICKLE; `churn_model.py` wrote it a moment ago, in this same environment.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from flask import Flask, jsonify, request

app = Flask(__name__)
vectorizer, model = pickle.loads(Path(os.environ["CHURN_PICKLE"]).read_bytes())  # noqa: S301 - written by the benchmark itself


def predict() -> Any:
    """Answer one customer."""
    probability = float(model.predict_proba(vectorizer.transform([request.get_json()]))[0, 1])
    return jsonify({"churn_probability": probability, "churn": probability >= 0.5})


app.add_url_rule("/predict", view_func=predict, methods=["POST"])
