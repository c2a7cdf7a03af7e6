"""Labels in the wrong order are rejected; renaming needs a mapping."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import relevo
from relevo.errors import InvalidLabelsError, RelevoError
from relevo.importing.import_model import import_model
from relevo.package.class_names import display_names
from relevo.project.config import read_project
from relevo.project.training import train_project

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("skl2onnx")

from sklearn.linear_model import LogisticRegression

AGES = np.linspace(1.0, 99.0, 60)[:, None]
OLD = AGES[:, 0] > 50
TEXTS = np.where(OLD, "old", "young")


def packed(classes: Any, **options: Any) -> relevo.Package:
    """A classifier of ages into `classes`, packed."""
    model = LogisticRegression(C=100.0, max_iter=1000).fit(AGES, classes)
    return relevo.pack(model, name="ages", samples=AGES, features=["age"], figures=False, **{"truth": classes, **options})


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (("old", "young"), ("young", "old")),
        (("old", "young"), ("Young", "OLD")),
        (("a", "b", "c"), ("a", "c", "b")),
        (("a", "b", "c"), ("b", "c", "d")),
        (("0", "1"), ("1", "0")),
        (("0", "1"), ("1.0", "0.0")),
        (("0", "1"), ("Yes", "No")),
        (("False", "True"), ("true", "false")),
        (("False", "True"), ("Sí", "No")),
        (("1", "2", "3"), ("0", "1", "2")),
    ],
)
def test_labels_in_another_order_are_refused(classes: tuple[str, ...], labels: tuple[str, ...]) -> None:
    """Rejects labels that contain the name of another class, and shows both orders."""
    with pytest.raises(InvalidLabelsError) as refusal:
        display_names(classes, labels, {})
    assert all(f"'{name}'" in str(refusal.value) for name in (*classes, *labels))


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (("0", "1"), ("No", "Yes")),
        (("False", "True"), ("stays", "leaves")),
        (("old", "young"), ("Old", "Young")),
        (("0", "1", "2"), ("setosa", "versicolor", "virginica")),
        ((), ("young", "old")),
    ],
)
def test_names_of_numbers_and_the_same_names_are_taken(classes: tuple[str, ...], labels: tuple[str, ...]) -> None:
    """Numbers, true and false are named by position, and so are classes without names."""
    assert display_names(classes, labels, {}) == labels


def test_a_swap_is_refused_and_a_mapping_renames() -> None:
    """A text class is renamed by a mapping only, and the truth may use either name."""
    for labels in (["young", "old"], ["viejo", "joven"], {"old": "young", "young": "old"}, {"elder": "viejo"}):
        with pytest.raises(InvalidLabelsError):
            packed(TEXTS, labels=labels)
    for truth in (TEXTS, np.where(OLD, "viejo", "joven")):
        package = packed(TEXTS, truth=truth, labels={"old": "viejo", "young": "joven"})
        assert package.predict({"age": 80.0}).predicted_label == "viejo"
        assert package.metrics["accuracy"]["value"] >= 0.95
        assert package.manifest.output.classes == ("old", "young")
        assert "old → viejo" in package.read("card.md").decode()


@pytest.mark.parametrize("truth", [OLD, OLD.astype(int), OLD.astype(float)], ids=["bool", "int", "float"])
def test_classes_that_are_numbers_show_what_they_are_called(truth: Any) -> None:
    """A class that is a number, true or false is named by position, and the prediction is the original's."""
    package = packed(truth, labels=["No", "Yes"])
    assert package.predict({"age": 80.0}).predicted_label == "Yes"
    assert package.manifest.output.classes in (("False", "True"), ("0", "1"))


def test_a_truth_in_display_names_measures_what_is_shown() -> None:
    """Swapped names of numeric classes measure 0 against a truth in those names, never 1."""
    package = packed(OLD.astype(int), labels=["old", "young"], truth=TEXTS)
    assert package.metrics["accuracy"]["value"] <= 0.05


def test_an_import_refuses_what_packing_refuses(tmp_path: Path) -> None:
    """An import rejects labels in another order with the same message; a mapping renames."""
    path = tmp_path / "ages.pickle"
    path.write_bytes(pickle.dumps(LogisticRegression().fit(AGES, TEXTS)))
    options: dict[str, Any] = {"name": "ages", "trust_pickle": True, "samples": AGES, "features": ["age"], "figures": False}
    with pytest.raises(InvalidLabelsError, match=r"'old', 'young'.*'young', 'old'"):
        import_model(path, labels=["young", "old"], **options)
    package = import_model(path, labels={"old": "viejo", "young": "joven"}, **options)
    assert package.predict({"age": 80.0}).predicted_label == "viejo"


def test_a_project_renames_by_a_table(tmp_path: Path) -> None:
    """`labels` in relevo.toml in another order than the classes is an error; a table renames."""
    (tmp_path / "ages.csv").write_text(
        "age,y\n" + "".join(f"{age},{'old' if age > 50 else 'young'}\n" for age in range(100)), encoding="utf-8"
    )
    (tmp_path / "train.py").write_text(
        "import numpy as np\nfrom sklearn.tree import DecisionTreeClassifier\n\n"
        "def train(run):\n    rows = np.array([[row['age']] for row in run.train.x], dtype=float)\n"
        "    return DecisionTreeClassifier().fit(rows, run.train.y)\n",
        encoding="utf-8",
    )

    def trained(labels: str) -> relevo.Package:
        (tmp_path / "relevo.toml").write_text(
            f'[model]\nname = "ages"\nlabels = {labels}\n[data]\npath = "ages.csv"\ntarget = "y"\n', encoding="utf-8"
        )
        return train_project(read_project(tmp_path), tmp_path / f"package-{len(labels)}", lambda *_: None)

    with pytest.raises(RelevoError, match="'young', 'old'"):
        trained('["young", "old"]')
    assert trained('{old = "viejo", young = "joven"}').predict({"age": 80}).predicted_label == "viejo"
