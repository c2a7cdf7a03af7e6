"""`relevo.pack` turns a notebook's objects into a package with a parity proof."""

from __future__ import annotations

import os
import time
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_diabetes, load_iris
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression

import relevo
from relevo.domain.decision import ArgmaxDecision, ThresholdDecision
from relevo.domain.signature import FieldKind, ImageInput, RecordInput, Task
from relevo.errors import (
    ConversionError,
    InvalidInputError,
    InvalidLabelError,
    InvalidManifestError,
    InvalidOptionsError,
    PackageError,
    ParityError,
    RelevoError,
)
from relevo.importing.import_model import import_model

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.package import Package


def test_the_same_model_packed_twice_is_the_same_package(digits: Any, digits_package: Package, tmp_path: Path) -> None:
    """Every byte is deterministic: files, figures, profile and digest."""
    again = relevo.pack(
        digits.model, name="digits", samples=digits.pictures, truth=digits.truth, scale=1 / 255, out=tmp_path / "a.zip"
    )
    assert again.files() == digits_package.files()
    relevo.pack(digits.model, name="digits", samples=digits.pictures, truth=digits.truth, scale=1 / 255, out=tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_digest_is_that_of_the_manifest(digits: Any, digits_package: Package) -> None:
    """The digests are equal, also when integers were given for floats."""
    assert digits_package.digest == digits_package.manifest.digest()
    whole = relevo.pack(digits.model, name="d", samples=digits.pictures[:20], scale=1, decision=ArgmaxDecision(min_confidence=0))
    assert whole.digest == whole.manifest.digest()
    table = [{"a": number, "b": "x"} for number in range(30)]
    vectorizer = DictVectorizer()
    model = LogisticRegression().fit(vectorizer.fit_transform(table), [number > 9 for number in range(30)])
    record = relevo.pack((vectorizer, model), name="r", samples=table)
    assert record.digest == record.manifest.digest()
    assert isinstance(record.manifest.input, RecordInput)
    assert type(record.manifest.input.fields[0].example) is int


def test_packing_digits_is_quick(digits: Any) -> None:
    """With proof, figures and profile it takes under ten seconds."""
    begun = time.monotonic()
    relevo.pack(digits.model, name="digits", samples=digits.pictures, truth=digits.truth, scale=1 / 255)
    assert time.monotonic() - begun < 10


def test_a_package_has_all_its_parts(digits_package: Package) -> None:
    """Model, golden examples, metrics, profile, figures and card are present, and parity is nearly exact."""
    paths = digits_package.paths()
    for path in (
        "model.onnx",
        "golden/golden.json",
        "golden/000.png",
        "metrics.json",
        "profile.npz",
        "figures/confusion.png",
        "card.md",
    ):
        assert path in paths
    parity = digits_package.manifest.lineage.parity
    assert (parity.reference, parity.samples, parity.rows, parity.labels_agreeing) == ("original", "user", 597, 1.0)
    assert parity.largest_difference < 1e-12
    assert digits_package.manifest.calibration is not None


def test_the_original_gets_the_tensor_of_serving(digits: Any, digits_package: Package) -> None:
    """For an image the package gives the original's probabilities for the scaled pixels."""
    served = digits_package.predict(digits_package.golden.payloads[3])
    place = next(
        row
        for row, picture in enumerate(digits.pictures)
        if np.allclose(digits.model.predict_proba(picture.reshape(1, -1) / 255)[0], served.probabilities, atol=1e-12)
    )
    assert digits.model.predict(digits.pictures[place].reshape(1, -1) / 255)[0] == served.index


@pytest.mark.parametrize("form", ["paths", "bytes", "images"])
def test_images_may_be_files_bytes_or_pil_images(digits: Any, tmp_path: Path, form: str) -> None:
    """Paths, bytes and PIL images give the same model with the same scores as the array."""
    pictures = digits.pictures[:40]
    paths = []
    for number, pixels in enumerate(pictures):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    samples = {"paths": paths, "bytes": [path.read_bytes() for path in paths], "images": [Image.fromarray(p) for p in pictures]}[
        form
    ]
    package = relevo.pack(digits.model, name="digits", samples=samples, scale=1 / 255)
    plain = relevo.pack(digits.model, name="digits", samples=pictures, scale=1 / 255)
    assert package.manifest.input == plain.manifest.input == ImageInput(width=8, height=8, mode="L")
    assert package.onnx == plain.onnx
    assert np.array_equal(package.golden.scores, plain.golden.scores)


def test_a_matrix_needs_features() -> None:
    """Names come from `features`, numbers have no limits, and every class is among the golden examples."""
    data = load_iris()
    model = LogisticRegression(max_iter=1000).fit(data.data, data.target)
    package = relevo.pack(
        model, name="iris", samples=data.data, features=data.feature_names, labels=data.target_names, truth=data.target
    )
    assert isinstance(package.manifest.input, RecordInput)
    assert [field.name for field in package.manifest.input.fields] == data.feature_names
    assert {field.kind for field in package.manifest.input.fields} == {FieldKind.NUMBER}
    assert all(field.minimum is None and field.maximum is None for field in package.manifest.input.fields)
    assert set(package.golden.scores.argmax(axis=1)) == {0, 1, 2}
    record = dict(zip(data.feature_names, data.data[0].tolist(), strict=True))
    assert package.predict(record).predicted_label == "setosa"


def test_below_200_rows_there_is_no_profile_and_the_card_says_so() -> None:
    """Iris has 150 rows: metrics and figures, but no drift reference."""
    data = load_iris()
    model = LogisticRegression(max_iter=1000).fit(data.data, data.target)
    package = relevo.pack(model, name="iris", samples=data.data, truth=data.target)
    assert "profile.npz" not in package.paths()
    assert "No drift profile" in package.read("card.md").decode()
    assert package.metrics["warnings"]


def test_a_regression_answers_a_value() -> None:
    """Diabetes progression: one number, with MAE, RMSE, R² and a figure of the residuals."""
    features, truth = load_diabetes(return_X_y=True)
    model = LinearRegression().fit(features[:200], truth[:200])
    package = relevo.pack(model, name="diabetes", samples=features[200:], truth=truth[200:], unit="points")
    assert package.manifest.output.task is Task.REGRESSION
    answer = package.predict({f"f{number}": value for number, value in enumerate(features[300])})
    assert answer.value == pytest.approx(model.predict(features[300:301])[0], abs=1e-9)
    assert package.metrics["r2"] == pytest.approx(model.score(features[200:], truth[200:]), abs=1e-6)
    assert "figures/residuals.png" in package.paths()


def test_data_frames_are_accepted_without_importing_pandas() -> None:
    """Any object with columns, dtypes and to_dict is accepted as DataFrame: it gives the names, and numeric fields accept fractions."""
    pandas = pytest.importorskip("pandas")
    data = load_iris()
    frame = pandas.DataFrame(data.data, columns=["a", "b", "c", "d"]).assign(a=lambda table: (table.a * 10).astype(int))
    model = LogisticRegression(max_iter=2000).fit(frame, data.target)
    package = relevo.pack(model, name="iris", samples=frame, truth=data.target)
    assert isinstance(package.manifest.input, RecordInput)
    assert [field.kind for field in package.manifest.input.fields][:2] == [FieldKind.NUMBER, FieldKind.NUMBER]
    backwards = list(range(149, 12, -1))
    held, series = frame.take(backwards), pandas.Series(data.target).take(backwards)
    for truth in (series, series.to_frame("y"), series.astype(str).to_frame("y"), series.astype("category"), list(series)):
        again = relevo.pack(model, name="iris", samples=held, truth=truth, figures=False)
        assert again.metrics["accuracy"]["value"] == pytest.approx(model.score(held, series), abs=1e-6)
    rows = [row for _, row in frame.head(4).iterrows()]
    assert [one.predicted_label for one in package.predict_many(frame.head(4))] == [
        package.predict(row).predicted_label for row in rows
    ]


def test_progress_is_reported(digits: Any) -> None:
    """Every step is reported with the number of finished steps."""
    reported: list[tuple[int, int, str]] = []
    relevo.pack(
        digits.model,
        name="d",
        samples=digits.pictures[:50],
        truth=digits.truth[:50],
        figures=False,
        progress=lambda *step: reported.append(step),
    )
    assert [step[0] for step in reported] == sorted(step[0] for step in reported)
    assert reported[0][2] == "converting"
    assert reported[-1][0] == reported[-1][1]


def test_bands_say_uncertain() -> None:
    """A decision with bands is stored, measured and applied."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(500, 2))
    truth = (features[:, 0] + draw.normal(size=500) > 0).astype(int)
    model = LogisticRegression().fit(features, truth)
    package = relevo.pack(
        model,
        name="b",
        samples=features,
        truth=truth,
        labels=["no", "yes"],
        decision=ThresholdDecision(accept_at=0.8, reject_at=0.2),
        figures=False,
    )
    assert 0 < package.metrics["uncertain_share"] < 1
    assert package.metrics["accuracy_when_sure"]["value"] > package.metrics["accuracy"]["value"]
    assert package.predict({"f0": 0.0, "f1": 0.0}).uncertain


def test_wrong_arguments_are_rejected(digits: Any) -> None:
    """Missing or foreign truth, wrong labels, a bad name, no samples, and objects that are no model are rejected."""
    few, truth = digits.pictures[:20], digits.truth[:20]
    with pytest.raises(InvalidOptionsError, match="truth for every sample"):
        relevo.pack(digits.model, name="d", samples=few, truth=truth[:3])
    with pytest.raises(InvalidLabelError):
        relevo.pack(digits.model, name="d", samples=few, truth=["cat"] * 20)
    with pytest.raises(InvalidOptionsError, match="labels"):
        relevo.pack(digits.model, name="d", samples=few, labels=["a", "b"])
    with pytest.raises(InvalidManifestError, match="name"):
        relevo.pack(digits.model, name="Not A Name", samples=few)
    with pytest.raises(InvalidOptionsError, match="samples"):
        relevo.pack(digits.model, name="d", samples=[])
    with pytest.raises(ConversionError, match="no predict"):
        relevo.pack(object(), name="d", samples=few)
    with pytest.raises(ConversionError, match="64 numbers"):
        relevo.pack(digits.model, name="d", samples=np.zeros((3, 9, 9), dtype=np.uint8))
    with pytest.raises(ConversionError, match="float64"):
        relevo.pack(digits.model, name="d", samples=np.zeros((3, 8, 8)))


def test_a_model_without_parity_is_not_packaged(digits: Any, tmp_path: Path) -> None:
    """With a tolerance that cannot be met nothing is written."""
    from sklearn.svm import SVC

    model = SVC().fit(digits.pictures[:300].reshape(300, -1), digits.truth[:300])
    with pytest.raises(ParityError) as refusal:
        relevo.pack(model, name="svm", samples=digits.pictures[:50], tolerance=1e-300, out=tmp_path / "p")
    assert refusal.value.facts["tolerance"] == 1e-300
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_not_overwritten(digits_package: Package, tmp_path: Path) -> None:
    """A folder with other files is kept; an older package is replaced."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years", encoding="utf-8")
    with pytest.raises(PackageError, match="other things"):
        digits_package.write(tmp_path / "mine")
    digits_package.write(tmp_path / "p")
    digits_package.write(tmp_path / "p")
    assert relevo.open(tmp_path / "p").digest == digits_package.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "p"]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"name": "Not A Name"}, "name"),
        ({"answer": {"churn": "maybe:yes"}}, "answer"),
        ({"decision": ThresholdDecision(accept_at=0.2, reject_at=0.8)}, "accept/reject/least"),
        ({"decision": ArgmaxDecision(min_confidence=2.0)}, "accept/reject/least"),
    ],
)
def test_an_invalid_option_is_named(tmp_path: Path, options: dict[str, Any], option: str) -> None:
    """The option is named before anything is converted, and not as an error in a manifest.json."""
    with pytest.raises(InvalidManifestError, match=f"^The option {option} cannot be used: "):
        relevo.pack(object(), **({"name": "m", "samples": [{"a": 1}]} | options))
    with pytest.raises(InvalidManifestError, match=f"^The option {option} cannot be used: "):
        import_model(tmp_path / "nothere.onnx", **({"name": "m"} | options))


def test_an_option_that_contradicts_the_model_is_named(digits: Any) -> None:
    """Options that contradict the model's labels are reported in the same words."""
    for options in ({"answer": {"churn": "is:leaves"}}, {"decision": ThresholdDecision(accept_at=0.8, reject_at=0.2)}):
        with pytest.raises(InvalidManifestError, match=r"^The option .* cannot be used: "):
            relevo.pack(digits.model, name="d", samples=digits.pictures[:20], **options)


def test_a_file_that_is_no_package_is_not_overwritten(digits_package: Package, tmp_path: Path) -> None:
    """Another zip archive is kept; an older package is replaced."""
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("thesis.txt", "years")
    with pytest.raises(PackageError, match="no package"):
        digits_package.write(tmp_path / "data.zip")
    for _ in range(2):
        digits_package.write(tmp_path / "p.zip")
    assert relevo.open(tmp_path / "p.zip").digest == digits_package.digest


@pytest.mark.parametrize("goal", ["file/p", "file/deeper/p.zip", "file", "full", "full.zip"])
def test_an_unusable_output_path_fails_first(tmp_path: Path, goal: str) -> None:
    """If no package can be written there, packing and importing fail at once, and no file is left."""
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "full.zip").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PackageError, match=r"(another place|take its place)\.$"):
        relevo.pack(object(), name="m", samples=[{"a": 1}], out=tmp_path / goal)
    with pytest.raises(PackageError, match=r"(another place|take its place)\.$"):
        import_model(tmp_path / "nothere.onnx", name="m", out=tmp_path / goal)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_unwritable_folder_fails_first(tmp_path: Path) -> None:
    """A folder without write permission is named in the error."""
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(PackageError, match="closed is not writable"):
        relevo.pack(object(), name="m", samples=[{"a": 1}], out=tmp_path / "closed" / "p.zip")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": None}, "the samples are a NoneType"),
        ({"samples": 5}, "the samples are a int"),
        ({"samples": "data.csv"}, "the samples are a str"),
        ({"samples": {"a": [1]}}, "the samples are a dict"),
        ({"truth": 1}, "option truth .* a list is expected, not a int"),
        ({"labels": 3}, "option labels .* a list is expected, not a int"),
        ({"truth": "y"}, "option truth .* a list is expected, not a str"),
        ({"name": None}, "option name .* a text is expected"),
        ({"features": 3}, "option features"),
        ({"steps": {"scale": 1}}, "option steps .* ImageSteps"),
        ({"decision": 0.5}, "option decision .* Argmax or Bands"),
        ({"answer": ["a"]}, "option answer .* a dict"),
        ({"scale": "1/255"}, "option scale .* a number"),
        ({"background": (255, 255, 255)}, "option background .* a text"),
        ({"background": "greenish"}, "option background .* white, black, #rrggbb or ignore"),
        ({"orientation": "up"}, "option orientation .* one of exif, ignore"),
        ({"out": 5}, "option out .* a path"),
        ({"tolerance": "a"}, "option tolerance .* a number"),
        ({"description": 3}, "option description .* a text"),
        ({"progress": 3}, "option progress .* a function"),
    ],
)
def test_an_option_of_another_type_is_named(options: dict[str, Any], words: str) -> None:
    """A wrong type in a call of `relevo.pack` gives a sentence that names the option, not a Python error."""
    x = np.arange(20.0).reshape(10, 2)
    model = LogisticRegression().fit(x, [0, 1] * 5)
    with pytest.raises(RelevoError, match=words):
        relevo.pack(model, **{"name": "m", "samples": x, "figures": False, **options})


@pytest.mark.parametrize("given", [None, 5, "a.png", {"f0": 1.0}])
def test_wrong_input_types_are_rejected(digits_package: Package, given: Any) -> None:
    """`predict_many`, `relevo.open` and `write` say what they expect instead of a wrong type."""
    with pytest.raises(InvalidInputError, match="A list of inputs or a DataFrame is expected"):
        digits_package.predict_many(given)
    if not isinstance(given, str):
        for act in (relevo.open, digits_package.write):
            with pytest.raises(PackageError, match="is expected, not a"):
                act(given)


def test_a_class_and_a_missing_file_are_rejected() -> None:
    """A class instead of its instance, and the path of a missing file, are reported as such."""
    for model, words in ((LogisticRegression, "class LogisticRegression itself"), ("model.onnx", "'model.onnx' cannot be read")):
        with pytest.raises(ConversionError, match=words):
            relevo.pack(model, name="m", samples=np.zeros((3, 2)))
