"""A stranger's pickle from file to HTTP: what is served is what the original said.

relevo import FILE --trust-pickle ─► a real server ─► POST a customer ─► the probability of the unpickled original, to 1e-6
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.server import settings_of, started

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("skl2onnx")

_CUSTOMER = {
    "gender": "female",
    "seniorcitizen": 0,
    "partner": "yes",
    "dependents": "no",
    "tenure": 41,
    "phoneservice": "yes",
    "multiplelines": "no",
    "internetservice": "dsl",
    "onlinesecurity": "yes",
    "onlinebackup": "no",
    "deviceprotection": "yes",
    "techsupport": "yes",
    "streamingtv": "yes",
    "streamingmovies": "yes",
    "contract": "one_year",
    "paperlessbilling": "yes",
    "paymentmethod": "bank_transfer_(automatic)",
    "monthlycharges": 79.85,
    "totalcharges": 3320.75,
}
#: What sets customers apart from one another: few months, many, an own line of business, a word the model never saw.
_CHANGES: list[dict[str, Any]] = [
    {},
    {"tenure": 1, "contract": "month-to-month", "totalcharges": 79.85, "internetservice": "fiber_optic", "onlinesecurity": "no"},
    {"tenure": 72, "contract": "two_year", "seniorcitizen": 1, "totalcharges": 8000.5},
    {"paymentmethod": "electronic_check", "techsupport": "no", "partner": "no"},
    {"internetservice": "no", "onlinebackup": "no_internet_service", "monthlycharges": 18.25},
    {"paymentmethod": "carrier_pigeon"},
]
#: Runs in a process that ends right after: a pickle is opened nowhere else.
_ORIGINAL = """
import json, pickle, sys, warnings
warnings.simplefilter("ignore")
with open(sys.argv[1], "rb") as file:
    vectorizer, model = pickle.load(file)
print(json.dumps(model.predict_proba(vectorizer.transform(json.load(sys.stdin))).tolist()))
"""


def test_the_book_model_serves_the_originals_probability(real_data: Path, tmp_path: Path) -> None:
    """The pickled `(dv, model)` of a course of 2021, imported by command, answers over HTTP as the original does to 1e-6."""
    file = real_data / "models" / "mlbookcamp" / "2021-10" / "model_C=1.0.bin"
    customers = [_CUSTOMER | change for change in _CHANGES]
    settings = settings_of(tmp_path)
    fields = ("--extra-field", "churn_probability=probability:1", "--extra-field", "churn=is:1")
    _run("-m", "relevo", "import", file, "--name", "churn", "--trust-pickle", *fields, "--home", settings.home, cwd=tmp_path)
    expected = json.loads(_run("-c", _ORIGINAL, file, cwd=tmp_path, stdin=json.dumps(customers)))
    with started(settings) as server, httpx.Client(base_url=server.url) as caller:
        single = [caller.post("/predict", json=customer).raise_for_status().json() for customer in customers]
        batch = caller.post("/models/churn/predict", json=customers).raise_for_status().json()
    for answers in (single, batch):
        for answer, original in zip(answers, expected, strict=True):
            assert answer["probabilities"] == pytest.approx(original, abs=1e-6)
            assert answer["class"] == int(original[1] > original[0])
            # What the course's own service answered, and its clients read.
            assert answer["churn_probability"] == pytest.approx(original[1], abs=1e-6)
            assert answer["churn"] is (original[1] >= 0.5)
    assert len({round(original[1], 3) for original in expected}) == len(customers), "the customers must differ"


def _run(*command: str | Path, cwd: Path, stdin: str = "") -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, input=stdin, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
