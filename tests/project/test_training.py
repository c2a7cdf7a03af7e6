"""From a new folder to a package, for pictures and for tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.errors import ConfigRefused, ManifestInvalid, PackageRefused
from relevo.package.opening import open_package
from relevo.package.samples import png
from relevo.project.data import load_examples
from relevo.project.reading import read_project
from relevo.project.starting import start_project
from relevo.project.training import first_of, split_examples, train_project

pytest.importorskip("skl2onnx")

CSV_TRAIN = """
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def train(run):
    run.progress(1, 1, rows=len(run.train.y))
    return make_pipeline(DictVectorizer(sparse=False), LogisticRegression(random_state=run.seed)).fit(run.train.x, run.train.y)
"""


def test_a_new_project_trains_right_away(tmp_path: Path) -> None:
    """`relevo new` writes a project whose package tells at least 97 % of the held-out digits right."""
    start_project(tmp_path / "digits")
    project = read_project(tmp_path / "digits")
    told: list[tuple[int, int, str]] = []
    package = train_project(project, tmp_path / "package", lambda done, total, what: told.append((done, total, what)))
    held = split_examples(load_examples(project), project.data.held_out)[1]
    answers = open_package(tmp_path / "package").predict_many([png(one.x) for one in held])
    assert sum(answer.label == str(one.y) for answer, one in zip(answers, held, strict=True)) >= 0.97 * len(held)
    assert package.manifest.name == "digits"
    assert package.manifest.lineage.training_data
    assert any("training accuracy" in what for _, _, what in told)


def test_the_same_training_is_the_same_package(tmp_path: Path) -> None:
    """Seeded training and deterministic packing give one digest for one project."""
    (tmp_path / "t.csv").write_text(
        "a,b,y\n" + "".join(f"{n},{n % 7},{'yes' if n % 3 else 'no'}\n" for n in range(200)), encoding="utf-8"
    )
    (tmp_path / "relevo.toml").write_text('[model]\nname = "t"\n[data]\npath = "t.csv"\ntarget = "y"\n', encoding="utf-8")
    (tmp_path / "train.py").write_text(CSV_TRAIN, encoding="utf-8")
    project = read_project(tmp_path)
    digests = {train_project(project, tmp_path / out, lambda *_: None).digest for out in ("one", "two.zip")}
    assert len(digests) == 1
    answer = open_package(tmp_path / "two.zip").predict({"a": 3, "b": 3})
    assert answer.label in {"yes", "no"}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that has one of the files is left as it is; a name that cannot be a model's is refused."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.py").write_text("precious", encoding="utf-8")
    with pytest.raises(ConfigRefused, match="is there already"):
        start_project(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["train.py"]
    with pytest.raises(ConfigRefused, match="name must be"):
        start_project(tmp_path / "My Project")
    with pytest.raises(ConfigRefused, match=r"train\.py is no folder; choose another place"):
        start_project(tmp_path / "mine" / "train.py" / "pp")
    # A file system that nobody can write to, though it grants the right.
    with pytest.raises(ConfigRefused, match="/proc/pp cannot be made"):
        start_project(Path("/proc/pp"))


def test_a_bad_goal_is_told_before_the_training(tmp_path: Path) -> None:
    """A path that cannot become a package, or a rule that cannot be, ends the command before data is read or train(run) called."""
    start_project(tmp_path / "p")
    (tmp_path / "p" / "train.py").write_text("raise SystemExit('trained')", encoding="utf-8")
    steps: list[str] = []
    with pytest.raises(PackageRefused, match="choose another place"):
        train_project(read_project(tmp_path / "p"), tmp_path / "p" / "relevo.toml", lambda _, __, what: steps.append(what))
    (tmp_path / "p" / "relevo.toml").write_text(
        '[model]\nname = "p"\n[data]\npath = "data.py"\n[decision]\naccept = 0.2\nreject = 0.8\n', encoding="utf-8"
    )
    with pytest.raises(ManifestInvalid, match="accept/reject/least cannot be used: bands need"):
        train_project(read_project(tmp_path / "p"), tmp_path / "out", lambda _, __, what: steps.append(what))
    assert steps == []


@pytest.mark.parametrize(("program", "told"), [(None, "no train.py"), ("x = 1\n", r"no function train\(run\)")])
def test_a_project_without_a_training_says_so(tmp_path: Path, program: str | None, told: str) -> None:
    """A missing train.py, or one without train(run), is named."""
    start_project(tmp_path / "p")
    (tmp_path / "p" / "train.py").unlink()
    if program is not None:
        (tmp_path / "p" / "train.py").write_text(program, encoding="utf-8")
    with pytest.raises(ConfigRefused, match=told):
        train_project(read_project(tmp_path / "p"), tmp_path / "out", lambda *_: None)


def test_versions_from_more_and_more_data(tmp_path: Path) -> None:
    """`most` limits what is learnt from, each smaller part lies within the larger, and the held-out rows stay the same."""
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 7},{'yes' if n % 3 else 'no'}\n" for n in range(400)))
    (tmp_path / "relevo.toml").write_text('[model]\nname = "t"\n[data]\npath = "t.csv"\ntarget = "y"\n', encoding="utf-8")
    (tmp_path / "train.py").write_text(CSV_TRAIN, encoding="utf-8")
    learn, held = split_examples(load_examples(read_project(tmp_path)), 0.25)
    parts = [{one.identity for one in first_of(learn, most)} for most in (50, 100, None)]
    assert [len(part) for part in parts] == [50, 100, len(learn)]
    assert parts[0] < parts[1] < parts[2]
    package = train_project(read_project(tmp_path), tmp_path / "small", lambda *_: None, most=50)
    assert package.metrics["learning"] == [{"epoch": 1, "rows": 50.0}]
    assert package.metrics["rows"] == len(held)
