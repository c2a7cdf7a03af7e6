"""From a new folder to a package, for images and for tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import RecordInput
from relevo.errors import ConfigError, InvalidManifestError, PackageError
from relevo.package.package import open_package
from relevo.package.samples import png
from relevo.project.config import read_project
from relevo.project.data import load_examples
from relevo.project.scaffold import start_project
from relevo.project.training import limit_examples, split_examples, train_project

pytest.importorskip("skl2onnx")

CSV_TRAIN = """
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def train(run):
    run.progress(1, 1, rows=len(run.train.y))
    return make_pipeline(DictVectorizer(sparse=False), LogisticRegression(random_state=run.seed)).fit(run.train.x, run.train.y)
"""


def test_new_project_can_be_trained(tmp_path: Path) -> None:
    """`relevo new` writes a project whose package predicts at least 97 % of the held-out digits correctly."""
    start_project(tmp_path / "digits")
    project = read_project(tmp_path / "digits")
    steps: list[tuple[int, int, str]] = []
    package = train_project(project, tmp_path / "package", lambda done, total, what: steps.append((done, total, what)))
    held = split_examples(load_examples(project), project.data.held_out)[1]
    answers = open_package(tmp_path / "package").predict_many([png(example.x) for example in held])
    assert sum(answer.predicted_label == str(example.y) for answer, example in zip(answers, held, strict=True)) >= 0.97 * len(held)
    assert package.manifest.name == "digits"
    assert package.manifest.lineage.training_data
    assert any("training accuracy" in what for _, _, what in steps)


def test_the_same_training_is_the_same_package(tmp_path: Path) -> None:
    """Seeded training and deterministic packing give the same digest for the same project."""
    (tmp_path / "t.csv").write_text(
        "a,b,y\n" + "".join(f"{n},{n % 7},{'yes' if n % 3 else 'no'}\n" for n in range(200)), encoding="utf-8"
    )
    (tmp_path / "relevo.toml").write_text('[model]\nname = "t"\n[data]\npath = "t.csv"\ntarget = "y"\n', encoding="utf-8")
    (tmp_path / "train.py").write_text(CSV_TRAIN, encoding="utf-8")
    project = read_project(tmp_path)
    digests = {train_project(project, tmp_path / out, lambda *_: None).digest for out in ("one", "two.zip")}
    assert len(digests) == 1
    answer = open_package(tmp_path / "two.zip").predict({"a": 3, "b": 3})
    assert answer.predicted_label in {"yes", "no"}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that has one of the files is left unchanged; an invalid model name is rejected."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.py").write_text("precious", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        start_project(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["train.py"]
    with pytest.raises(ConfigError, match="name must be"):
        start_project(tmp_path / "My Project")
    with pytest.raises(ConfigError, match=r"train\.py is no folder; choose another place"):
        start_project(tmp_path / "mine" / "train.py" / "pp")
    # A file system that rejects writes although its permissions allow them.
    with pytest.raises(ConfigError, match="/proc/pp cannot be made"):
        start_project(Path("/proc/pp"))


def test_invalid_output_is_rejected_before_training(tmp_path: Path) -> None:
    """An invalid output path, or an invalid rule, is rejected before data is read or train(run) called."""
    start_project(tmp_path / "p")
    (tmp_path / "p" / "train.py").write_text("raise SystemExit('trained')", encoding="utf-8")
    steps: list[str] = []
    with pytest.raises(PackageError, match="choose another place"):
        train_project(read_project(tmp_path / "p"), tmp_path / "p" / "relevo.toml", lambda _, __, what: steps.append(what))
    (tmp_path / "p" / "relevo.toml").write_text(
        '[model]\nname = "p"\n[data]\npath = "data.py"\n[decision]\naccept = 0.2\nreject = 0.8\n', encoding="utf-8"
    )
    with pytest.raises(InvalidManifestError, match="accept/reject/least cannot be used: bands need"):
        train_project(read_project(tmp_path / "p"), tmp_path / "out", lambda _, __, what: steps.append(what))
    assert steps == []


@pytest.mark.parametrize(("program", "message"), [(None, "no train.py"), ("x = 1\n", r"no function train\(run\)")])
def test_missing_train_function_is_named(tmp_path: Path, program: str | None, message: str) -> None:
    """A missing train.py, or one without train(run), is named."""
    start_project(tmp_path / "p")
    (tmp_path / "p" / "train.py").unlink()
    if program is not None:
        (tmp_path / "p" / "train.py").write_text(program, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        train_project(read_project(tmp_path / "p"), tmp_path / "out", lambda *_: None)


def test_number_of_training_examples_is_limited(tmp_path: Path) -> None:
    """`most` limits the training examples, each subset lies within the larger one, and the held-out rows stay the same."""
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 7},{'yes' if n % 3 else 'no'}\n" for n in range(400)))
    (tmp_path / "relevo.toml").write_text('[model]\nname = "t"\n[data]\npath = "t.csv"\ntarget = "y"\n', encoding="utf-8")
    (tmp_path / "train.py").write_text(CSV_TRAIN, encoding="utf-8")
    training, held = split_examples(load_examples(read_project(tmp_path)), 0.25)
    parts = [{example.identity for example in limit_examples(training, most)} for most in (50, 100, None)]
    assert [len(part) for part in parts] == [50, 100, len(training)]
    assert parts[0] < parts[1] < parts[2]
    package = train_project(read_project(tmp_path), tmp_path / "small", lambda *_: None, max_examples=50)
    assert package.metrics["learning"] == [{"epoch": 1, "rows": 50.0}]
    assert package.metrics["rows"] == len(held)


IMAGE_TRAIN = """
from sklearn.linear_model import LogisticRegression


def train(run):
    return LogisticRegression(max_iter=500).fit(run.train.x, run.train.y)
"""


@pytest.mark.parametrize(
    ("settings", "orientation", "background"),
    [("", "exif", "white"), ('orientation = "ignore"\nbackground = "#102030"', "ignore", "#102030")],
)
def test_training_and_serving_preprocess_images_alike(tmp_path: Path, settings: str, orientation: str, background: str) -> None:
    """Rotated and transparent images give the same metrics in training and serving, and the manifest records the preprocessing."""
    for number in range(60):
        image = Image.new("RGBA", (12, 8), (0, 0, 0, 0))
        image.paste((number, 200 - number, 30, 255), (0, 0, 6, 8) if number % 2 else (6, 0, 12, 8))
        exif = Image.Exif()
        exif[0x0112] = 6
        file = tmp_path / "data" / ("left" if number % 2 else "right") / f"{number}.{'png' if number % 4 else 'tif'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, exif=exif)
    (tmp_path / "relevo.toml").write_text(
        f'[model]\nname = "m"\n[data]\npath = "data"\nheld_out = 0.4\n[input]\nkind = "image"\nsize = [12, 8]\n{settings}\n',
        encoding="utf-8",
    )
    (tmp_path / "train.py").write_text(IMAGE_TRAIN, encoding="utf-8")
    project = read_project(tmp_path)
    package = train_project(project, tmp_path / "package", lambda *_: None)
    steps = package.manifest.steps
    assert isinstance(steps, ImageSteps)
    assert (steps.orientation, steps.background) == (orientation, background)
    card = package.read("card.md").decode()
    assert ("EXIF orientation is applied" in card) == (orientation == "exif")
    assert background in card
    held = split_examples(load_examples(project), project.data.held_out)[1]
    correct = sum(
        answer.predicted_label == example.y
        for answer, example in zip(package.predict_many([example.x for example in held]), held, strict=True)
    )
    assert correct / len(held) == package.metrics["accuracy"]["value"] == 1.0


def test_a_background_that_is_no_colour_is_refused(tmp_path: Path) -> None:
    """The error names the section and the allowed values."""
    (tmp_path / "relevo.toml").write_text(
        '[model]\nname = "m"\n[data]\npath = "data"\n[input]\nkind = "image"\nsize = [8, 8]\nbackground = "greenish"\n',
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match=r"\[input\] the background must be white, black, #rrggbb or ignore, not 'greenish'"):
        read_project(tmp_path).image()


def test_dropped_columns_are_optional(tmp_path: Path) -> None:
    """Columns that a ColumnTransformer drops are optional in the signature."""
    rows = "".join(f"c{n},{n % 60},{n % 7}.5,{'ab'[n % 2]},{'yes' if n % 60 > 30 else 'no'}\n" for n in range(240))
    (tmp_path / "t.csv").write_text("id,age,pay,city,gone\n" + rows, encoding="utf-8")
    (tmp_path / "relevo.toml").write_text('[model]\nname = "t"\n[data]\npath = "t.csv"\ntarget = "gone"\n', encoding="utf-8")
    (tmp_path / "train.py").write_text(
        """
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def train(run):
    chosen = ColumnTransformer([("n", StandardScaler(), ["age"]), ("c", OneHotEncoder(), ["city"])])
    return make_pipeline(chosen, LogisticRegression()).fit(pd.DataFrame(run.train.x), run.train.y)
""",
        encoding="utf-8",
    )
    package = train_project(read_project(tmp_path), tmp_path / "package", lambda *_: None)
    assert isinstance(package.manifest.input, RecordInput)
    assert {field.name for field in package.manifest.input.fields if field.required} == {"age", "city"}
    assert package.predict({"age": 50, "city": "a"}) == package.predict({"age": 50, "city": "a", "id": "c1", "pay": 3.5})
