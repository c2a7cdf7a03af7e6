"""The record job: churn, 19 fields, JSON; Relevo in batches of 100 beside Flask, pickle and `predict_proba` one by one.

Promised: at least 10,000 records a second in batches, and at least five times Flask. One by one is told too.
Both get the same weights: (DictVectorizer, LogisticRegression) trained here on the published customers. The answers are held
against `predict_proba` to 1e-6 before anything is timed.

Usage: records.py [--seconds 10] [--rounds 5] [--connections 16] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_model import churn_rows, train
from contenders import HERE, flask_churn, relevo, relevo_server
from measuring import Bodies, ask, conditions, interleaved, one_round, ratio, running, save, table, verdict
from places import DATA, PEERS_HOME

if TYPE_CHECKING:
    from measuring import Contender

_BATCH = 100
_RATE = 10_000.0
_TIMES = 5.0
_TOLERANCE = 1e-6


def main() -> int:
    """Measure, print Markdown and verdicts; 1 when a promised figure was missed."""
    chosen = _options()
    print(conditions())
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as place:
        contenders = _contenders(Path(place))
        check_probabilities(contenders)
        parts = {
            name: partial(one_round, contender, seconds=chosen.seconds, connections=chosen.connections, warm_up=2.0)
            for name, contender in contenders.items()
        }
        seen = interleaved(parts, chosen.rounds)
    print(table(seen, contenders, unit="records/s"))
    save(chosen.json, "records", seen, connections=chosen.connections, seconds=chosen.seconds)
    rates = sorted(load.rate for load in seen["relevo in batches"])
    middle, times = rates[len(rates) // 2], ratio(seen, "relevo in batches", "flask one by one")
    print(f"         one by one: {ratio(seen, 'relevo one by one', 'flask one by one'):.1f} times Flask")
    failed = sum(load.failed for loads in seen.values() for load in loads)
    reached = (
        verdict(f"{middle:,.0f} records/s in batches of {_BATCH} (promised: {_RATE:,.0f})", holds=middle >= _RATE),
        verdict(f"{times:.1f} times Flask one by one (promised: {_TIMES:g})", holds=times >= _TIMES),
        verdict(f"{failed} requests failed", holds=failed == 0),
    )
    return 0 if all(reached) else 1


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description="Churn records.")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--json", type=Path)
    return options.parse_args()


def _contenders(place: Path) -> dict[str, Contender]:
    home, pickle = place / "home", place / "churn.pickle"
    pack_churn(place / "churn.zip")
    relevo("import", str(place / "churn.zip"), "--name", "churn", "--home", str(home))
    flask = str(PEERS_HOME / "flask" / "bin" / "python")
    folders = {"PYTHONPATH": str(HERE), "RELEVO_TEST_DATA": str(DATA)}
    subprocess.run([flask, str(HERE / "churn_model.py"), str(pickle)], check=True, env={**os.environ, **folders})
    rows, _ = churn_rows()
    single = Bodies(kind="application/json", bodies=tuple(json.dumps(row).encode() for row in rows[:256]))
    many = tuple(json.dumps(rows[start : start + _BATCH]).encode() for start in range(0, 3200, _BATCH))
    batches = Bodies(kind="application/json", bodies=many)
    found = (
        relevo_server("relevo in batches", home, "/models/churn/predict", batches, items=_BATCH),
        relevo_server("relevo one by one", home, "/models/churn/predict", single),
        flask_churn(pickle, single),
    )
    return {contender.name: contender for contender in found}


def pack_churn(out: Path) -> None:
    """Train and pack, as a notebook would."""
    import relevo

    rows, truth = churn_rows()
    held_out, labels = slice(5000, None), ["stays", "leaves"]
    named = [labels[left] for left in truth[held_out]]
    relevo.pack(train(), name="churn", samples=rows[held_out], truth=named, labels=labels, out=out)


def check_probabilities(contenders: dict[str, Contender]) -> None:
    """Every server's first answers against `predict_proba`. Raises AssertionError."""
    vectorizer, model = train()
    for contender in contenders.values():
        with running(contender) as (address, _):
            for body in contender.bodies.bodies[:4]:
                sent = json.loads(body)
                rows = sent if isinstance(sent, list) else [sent]
                expected = model.predict_proba(vectorizer.transform(rows))[:, 1]
                got = _probabilities(ask(contender, address, body).json())
                assert len(got) == len(expected), f"{contender.name} gave {len(got)} answers to {len(expected)} records"
                worst = max(abs(one - other) for one, other in zip(got, expected, strict=True))
                assert worst <= _TOLERANCE, f"{contender.name} is off by {worst:.2g}"


def _probabilities(answer: Any) -> list[float]:
    if isinstance(answer, dict) and "predictions" in answer:
        answer = answer["predictions"]
    answers = answer if isinstance(answer, list) else [answer]
    return [float(one["churn_probability"] if "churn_probability" in one else one["probabilities"][1]) for one in answers]


if __name__ == "__main__":
    sys.exit(main())
