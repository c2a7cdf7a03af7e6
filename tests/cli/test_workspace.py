"""Commands without a server: a small project is trained, listed, labelled and rolled back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from relevo import server
from relevo.config import load_settings
from relevo.domain import ids
from relevo.domain.prediction import Arm, InputKind, PredictionRecord

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("skl2onnx")

TRAIN = """
import os
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def train(run):
    regularised = LogisticRegression(C=float(os.environ.get("STRENGTH", "1")))
    return make_pipeline(DictVectorizer(sparse=False), regularised).fit(run.train.x, run.train.y)
"""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A folder with a project, trained once."""

    folder: Path
    start: Callable[..., subprocess.CompletedProcess[str]]

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the folder."""
        return self.start(*arguments, cwd=self.folder, **environ)

    def ask(self, *arguments: str, **environ: str) -> Any:
        """The JSON output of a command."""
        done = self.run(*arguments, "--json", **environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *arguments: str, **environ: str) -> str:
        """The error message of a command."""
        done = self.run(*arguments, **environ)
        assert done.returncode == 1
        return done.stderr


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, relevo_run: Callable[..., subprocess.CompletedProcess[str]]) -> Workspace:
    folder = tmp_path_factory.mktemp("workspace")
    rows = "".join(f"{n},{n % 7},{'yes' if n % 7 > 3 else 'no'}\n" for n in range(200))
    (folder / "t.csv").write_text("a,b,y\n" + rows, encoding="utf-8")
    (folder / "relevo.toml").write_text(
        '[model]\nname = "churn"\n[data]\npath = "t.csv"\ntarget = "y"\n[server]\nhome = "work"\n', encoding="utf-8"
    )
    (folder / "train.py").write_text(TRAIN, encoding="utf-8")
    created = Workspace(folder=folder, start=relevo_run)
    assert created.ask("train")["version"]["number"] == 1
    return created


def test_training_registers_under_the_projects_home(workspace: Workspace) -> None:
    """The package is in the package store of the home in relevo.toml, and the alias champion points to it."""
    (model,) = workspace.ask("models")
    assert (model["name"], model["aliases"]) == ("churn", {"champion": 1})
    digest = model["versions"][0]["digest"]
    assert (workspace.folder / "work" / "packages" / digest / "manifest.json").is_file()
    assert workspace.ask("verify", f"work/packages/{digest}")
    output = workspace.ask("inspect", f"work/packages/{digest}")
    assert (output["digest"], output["manifest"]["name"]) == (digest, "churn")


def test_training_again_is_a_version_and_the_alias_goes_back(workspace: Workspace) -> None:
    """A second training is version 2 and champion; one command moves the alias back; the history has author and reason."""
    assert workspace.ask("train", "--reason", "stronger", STRENGTH="0.01")["version"]["number"] == 2
    assert workspace.ask("models", "show", "churn")["aliases"] == {"champion": 2}
    assert "in place of version 2" in workspace.refused("models", "alias", "churn", "champion", "1", "--reason", "worse")
    move = workspace.ask("models", "alias", "churn", "champion", "1", "--reason", "worse", "--yes")
    assert (move["version"], move["previous"]) == (1, 2)
    history = workspace.ask("models", "history", "churn")
    assert [(one["version"], one["reason"]) for one in history[:2]] == [(1, "worse"), (2, "stronger")]
    assert all(one["author"] for one in history)
    assert "churn" in workspace.run("models").stdout
    assert "no version 9" in workspace.refused("models", "alias", "churn", "champion", "9", "--reason", "x")


def test_a_home_that_cannot_be_is_told_before_the_training(workspace: Workspace) -> None:
    """An unusable home is an error before train(run) is called, and nothing is created."""
    for home, printed in (("t.csv", "t.csv is no folder; move it away"), ("t.csv/home", "t.csv/home cannot be made")):
        assert printed in workspace.refused("train", "--home", home, STRENGTH="no number: the training itself would fail")
        assert printed in workspace.refused("import", "relevo.toml", "--name", "m", "--home", home)


def test_a_missing_file_is_told_before_a_missing_name(workspace: Workspace) -> None:
    """A missing file is reported before missing options."""
    assert "there is no such file" in workspace.refused("import", "nothere.onnx")


def remember(workspace: Workspace, label: str, *, uncertain: bool = False, minute: int = 0) -> str:
    """Inserts one prediction into the history, as a server would."""
    at = datetime(2026, 3, 1, 12, minute, tzinfo=UTC)
    prediction = PredictionRecord(
        id=ids.new_id(int(at.timestamp() * 1000)),
        at_us=int(at.timestamp() * 1e6),
        model="churn",
        version=1,
        arm=Arm.CHAMPION,
        propensity=1.0,
        epoch=1,
        kind=InputKind.RECORD,
        input=b'{"a": 1, "b": 2}',
        input_bytes=16,
        predicted_label=label,
        confidence=0.75,
        uncertain=uncertain,
    )
    server.open_store(load_settings({"home": workspace.folder / "work"}, {})).predictions.insert([prediction])
    return ids.text(prediction.id)


def test_the_history_narrows_and_pages(workspace: Workspace) -> None:
    """Newest first; filters for label, uncertainty and time; the cursor continues after the page."""
    first = remember(workspace, "no", minute=1)
    second = remember(workspace, "yes", uncertain=True, minute=2)
    third = remember(workspace, "yes", minute=3)
    page = workspace.ask("history", "--limit", "2")
    assert [one["query_id"] for one in page["items"]] == [third, second]
    rest = workspace.ask("history", "--cursor", page["next_cursor"])
    assert [one["query_id"] for one in rest["items"]] == [first]
    for narrow, expected in (
        (("--prediction", "no"), [first]),
        (("--uncertain",), [second]),
        (("--since", "2026-03-01T13:03:00+01:00"), [third]),
        (("--until", "2026-03-01T12:02"), [first]),
        (("--model", "nobody"), []),
    ):
        assert [one["query_id"] for one in workspace.ask("history", *narrow)["items"]] == expected
    shown = workspace.run("history", COLUMNS="300").stdout
    assert third in shown
    assert "uncertain" in shown


def test_a_label_is_kept_beside_its_prediction(workspace: Workspace) -> None:
    """The history shows the label, then its correction; an invalid label is an error with the choices."""
    query_id = remember(workspace, "no", minute=10)
    assert workspace.ask("history", query_id)["label"] is None
    kept = workspace.ask("label", query_id, "yes", "--author", "Ada", "--note", "called them")
    assert (kept["value"], kept["author"], kept["source"], kept["note"]) == ("yes", "Ada", "cli", "called them")
    assert "was 'no'" in workspace.run("label", query_id, "no").stdout
    assert workspace.ask("history", query_id)["label"] == "no"
    assert "no, yes" in workspace.refused("label", query_id, "maybe")
    given = [(one["value"], one["author"], one["note"]) for one in workspace.ask("history", query_id)["labels"]]
    assert given[0] == ("yes", "Ada", "called them")
    assert [value for value, _, _ in given] == ["yes", "no"]


def test_what_is_not_there_is_told(workspace: Workspace) -> None:
    """An unknown model or prediction is an error that names it."""
    for arguments in (("show", "nobody"), ("history", "nobody"), ("alias", "nobody", "champion", "1", "--reason", "x")):
        assert "(model_not_found)" in workspace.refused("models", *arguments)
    assert "(prediction_not_found)" in workspace.refused("history", "no-id")
    assert "(prediction_not_found)" in workspace.refused("label", "no-id", "7")


def test_the_same_again_is_told_as_that(workspace: Workspace) -> None:
    """Training to the same package, or moving an alias to its version, reports that nothing changed."""
    before = workspace.ask("models", "show", "churn")
    assert "unchanged: already churn 1, named spare" in workspace.run("train", "--alias", "spare").stdout
    moves = workspace.ask("models", "history", "churn")
    output = workspace.run("models", "alias", "churn", "spare", "1", "--reason", "a new reason").stdout
    assert "stands at version 1 already" in output
    assert workspace.ask("models", "history", "churn") == moves
    assert workspace.ask("models", "show", "churn")["versions"] == before["versions"]


def test_a_package_can_be_kept_without_registering(workspace: Workspace) -> None:
    """--no-register leaves the registry unchanged, --out writes a valid .zip."""
    before = workspace.ask("models")
    assert workspace.ask("train", "--no-register", "--out", "kept.zip", STRENGTH="3")["version"] is None
    assert workspace.ask("models") == before
    assert workspace.ask("inspect", "kept.zip")["manifest"]["name"] == "churn"


def test_a_zip_can_be_registered(workspace: Workspace) -> None:
    """--out with a .zip registers as well as a folder."""
    assert workspace.ask("train", "--out", "also.zip", STRENGTH="5")["version"]["model"] == "churn"


def test_a_package_comes_in_as_it_is(workspace: Workspace) -> None:
    """`relevo import` registers a .zip; it keeps its name, and options that would change it are errors."""
    created = workspace.ask("train", "--no-register", "--out", "sent.zip", STRENGTH="7")
    output = workspace.ask("import", "sent.zip", "--home", "elsewhere")
    assert output["digest"] == workspace.ask("inspect", "sent.zip")["digest"]
    assert output["version"]["number"] == 1
    assert created["version"] is None
    assert "keeps its name" in workspace.refused("import", "sent.zip", "--name", "other")
    assert "leave out labels" in workspace.refused("import", "sent.zip", "--labels", "a,b")


def test_an_onnx_file_comes_in(workspace: Workspace) -> None:
    """`relevo import` accepts the ONNX file of a package as an untrusted file."""
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(60, 2))
    model = LogisticRegression().fit(x, x[:, 0] > 0)
    onnx = to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString()
    (workspace.folder / "m.onnx").write_bytes(onnx)
    output = workspace.ask("import", "m.onnx", "--name", "other", "--labels", "low,high", "--no-figures", "--min-confidence", "0.6")
    assert output["version"]["model"] == "other"
    assert output["lineage"]["source_sha256"]
    assert {one["name"] for one in workspace.ask("models")} == {"churn", "other"}


def test_a_pickle_waits_for_a_persons_word(workspace: Workspace) -> None:
    """Without --trust-pickle no pickle is loaded, and the error names the option."""
    import pickle

    from sklearn.linear_model import LogisticRegression

    (workspace.folder / "m.pkl").write_bytes(pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))
    output = workspace.refused("import", "m.pkl", "--name", "other")
    assert "--trust-pickle" in output
    assert "(pickle_not_trusted)" in output
