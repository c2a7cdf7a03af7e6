"""The examples: the customers of the Telco data set, cleaned; where it is absent, made-up customers of the same columns.

    Telco-Customer-Churn.csv ─ names and words: lower case, "_" for blanks ─► records      Churn: the truth
                             └ a blank TotalCharges: nothing paid yet, 0.0                  customerID: keeps a customer on one side

The model does not see customerID. The split does: the same customer with one month more is no new customer.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("RELEVO_TEST_DATA") or HERE.parents[2] / "shared" / "data")
TABLE = SHARED / "telco" / "Telco-Customer-Churn.csv"
MADE_UP = HERE / "samples" / "customers.csv"

#: Columns that hold numbers; all others hold words.
NUMBERS: dict[str, type[int | float]] = {"seniorcitizen": int, "tenure": int, "monthlycharges": float, "totalcharges": float}


def load() -> dict[str, list[Any]]:
    """x: customers as records of 19 fields. y: whether each left (1) or stayed (0). groups: who it is."""
    with (TABLE if TABLE.is_file() else MADE_UP).open(newline="", encoding="utf-8") as file:
        rows = [{plain(name): cell for name, cell in row.items()} for row in csv.DictReader(file)]
    rows = rows[: int(os.environ.get("EXAMPLE_LIMIT") or len(rows))]
    return {
        "x": [customer(row) for row in rows],
        "y": [int(plain(row["churn"]) == "yes") for row in rows],
        "groups": [row["customerid"] for row in rows],
    }


def customer(row: dict[str, str]) -> dict[str, Any]:
    """One record: numbers as numbers, words in plain form."""
    fields = {name: cell for name, cell in row.items() if name not in ("customerid", "churn")}
    return {name: NUMBERS[name](cell.strip() or 0) if name in NUMBERS else plain(cell) for name, cell in fields.items()}


def plain(word: str) -> str:
    """A word in one form, whoever wrote it: "No internet service" becomes "no_internet_service"."""
    return word.strip().lower().replace(" ", "_")
