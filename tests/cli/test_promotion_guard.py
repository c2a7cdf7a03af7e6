"""The promotion guard, on the command line and over HTTP: a worse or breaking version needs force and a reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from tests.support.server import settings_of, started

import relevo
import relevo.server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from relevo.config import Settings

pytest.importorskip("skl2onnx")

_ROWS = np.random.default_rng(3).normal(size=(400, 3))
_TRUTH = np.where(_ROWS @ [2.0, -1.0, 0.5] > 0, "leaves", "stays")
_NAMES = ("tenure", "monthly", "age")

TRAIN = """
import os
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def train(run):
    # So much regularised, it says the same of everybody.
    model = LogisticRegression(C=1e-9 if "WORSE" in os.environ else 1.0)
    return make_pipeline(DictVectorizer(sparse=False), model).fit(run.train.x, run.train.y)
"""


@dataclass(frozen=True, kw_only=True)
class Home:
    """A home whose model churn has a champion, and its commands. Lifetime: one test."""

    settings: Settings
    folder: Path
    start: Callable[..., subprocess.CompletedProcess[str]]

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the folder."""
        return self.start(*arguments, cwd=self.folder, RELEVO_HOME=str(self.settings.home), **environ)

    def ask(self, *arguments: str) -> Any:
        """The JSON output of a command."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stands(self) -> tuple[Any, list[Any]]:
        """The aliases with all their moves, and the moves in the audit log."""
        store = relevo.server.open_store(self.settings, begins=False)
        output = [entry for entry in store.audit_reader.page().items if entry.action == "alias.move"]
        moves = store.registry.alias_history("churn")
        store.engine.dispose()
        return moves, output


def packed(folder: Path, name: str, model: Any, width: int = 3) -> str:
    """A package of a model fitted on the first half of the rows and evaluated on the second."""
    columns = _ROWS[:, :width]
    model.fit(columns[:200], _TRUTH[:200])
    records = [dict(zip(_NAMES, map(float, row), strict=False)) for row in columns[200:]]
    names = list(_NAMES[:width])
    place = folder / f"{name}.zip"
    relevo.pack(model, name="churn", samples=records, truth=list(_TRUTH[200:]), out=place, figures=False, features=names)
    return str(place)


@pytest.fixture
def home(tmp_path: Path, relevo_run: Callable[..., subprocess.CompletedProcess[str]]) -> Home:
    from sklearn.linear_model import LogisticRegression

    created = Home(settings=settings_of(tmp_path), folder=tmp_path, start=relevo_run)
    done = created.run("import", packed(tmp_path, "good", LogisticRegression()), "--reason", "the first")
    assert done.returncode == 0, done.stderr
    return created


def refused(done: subprocess.CompletedProcess[str], *, why: str) -> None:
    """Checks that the command failed, gave the reason, and compared both versions."""
    assert done.returncode == 1, done.stdout
    assert "(takeover_refused)" in done.stderr
    assert why in done.stderr
    head, *rows = [
        line for line in done.stderr.splitlines() if "version 1 " in line or line.startswith(("input", "figure", "task"))
    ]
    assert head.split() == ["version", "1", "version", "2"]
    assert [row.split()[0] for row in rows] == ["task", "input", "figure"]
    figures = [word for word in rows[2].split() if word.startswith("0.") or word == "1"]
    assert len(figures) == 2, rows[2]


def forced(home: Home, *, why: str) -> None:
    """Checks that version 2 is champion, and that alias history and audit log contain reason and override."""
    history, moves = home.stands()
    assert (history[0].alias, history[0].version, history[0].previous) == ("champion", 2, 1)
    assert history[0].reason.startswith(f"{why} [forced: it ")
    assert (moves[0].object, moves[0].reason) == ("model:churn/alias:champion", history[0].reason)


def test_an_import_that_is_worse_or_breaks_clients(home: Home) -> None:
    """It is registered without becoming champion; `models alias` rejects it too; --force with a reason works."""
    from sklearn.linear_model import LogisticRegression

    before = home.stands()
    other = packed(home.folder, "other", LogisticRegression(), width=2)
    refused(home.run("import", other), why="it refuses fields that clients send: age")
    assert home.stands() == before
    refused(home.run("models", "alias", "churn", "champion", "2", "--reason", "a try", "--yes"), why="clients send: age")
    unreasoned = home.run("models", "alias", "churn", "champion", "2", "--reason", " ", "--force", "--yes")
    assert "a reason of your own" in unreasoned.stderr
    assert home.run("import", other, "--force").returncode == 2, "force without a reason"
    assert home.stands() == before
    assert home.ask("models", "show", "churn")["aliases"] == {"champion": 1}
    done = home.run("import", other, "--force", "--reason", "agreed with all clients")
    assert done.returncode == 0, done.stderr
    forced(home, why="agreed with all clients")


def test_a_training_that_is_worse(home: Home) -> None:
    """`relevo train` evaluates both on the same rows, keeps the better champion, and prints the comparison."""
    rows = "".join(f"{n},{n % 7},{'yes' if n % 7 > 3 else 'no'}\n" for n in range(400))
    (home.folder / "t.csv").write_text("a,b,y\n" + rows, encoding="utf-8")
    toml = '[model]\nname = "trained"\n[data]\npath = "t.csv"\ntarget = "y"\n'
    (home.folder / "relevo.toml").write_text(toml, encoding="utf-8")
    (home.folder / "train.py").write_text(TRAIN, encoding="utf-8")
    done = home.run("train")
    assert done.returncode == 0, done.stderr
    refused(home.run("train", WORSE="1"), why="significantly worse on the same held-out rows: accuracy")
    assert home.ask("models", "show", "trained")["aliases"] == {"champion": 1}
    done = home.run("models", "alias", "trained", "champion", "2", "--reason", "only for a day", "--force", "--yes")
    assert done.returncode == 0, done.stderr
    assert home.ask("models", "history", "trained")[0]["reason"].startswith("only for a day [forced: it is significantly worse")


def test_an_alias_moved_over_http(home: Home) -> None:
    """PUT gives 409 and moves nothing; force needs a reason, which history and audit log record."""
    from sklearn.tree import DecisionTreeClassifier

    worse = packed(home.folder, "worse", DecisionTreeClassifier(max_depth=1))
    refused(home.run("import", worse), why="significantly worse")
    before = home.stands()
    with started(home.settings) as server, httpx.Client(base_url=server.url, timeout=30) as client:

        def put(**wanted: Any) -> httpx.Response:
            return client.put("/models/churn/aliases/champion", json={"version": 2, **wanted})

        for answer in (put(reason="a try"), put(reason=" ", force=True)):
            assert (answer.status_code, answer.json()["code"]) == (409, "takeover_refused"), answer.text
        assert "significantly worse on the same held-out rows: accuracy" in put(reason="a try").json()["error"]
        compared = {what: (old, new) for what, old, new in put(reason="a try").json()["compared"]}
        assert compared["task"] == ("classification", "classification")
        assert compared["figure"][0] > compared["figure"][1] > "accuracy 0.5"
        assert home.stands() == before
        assert client.put("/models/churn/aliases/challenger", json={"version": 2, "reason": "beside"}).status_code == 200
        done = put(reason="the other one leaks", force=True)
        assert (done.status_code, done.json()["version"]) == (200, 2), done.text
        assert done.json()["reason"].startswith("the other one leaks [forced: it is significantly worse")
    forced(home, why="the other one leaks")
