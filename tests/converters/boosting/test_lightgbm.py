"""LightGBM's text comes in whatever its objective, and every row falls into the leaf that LightGBM puts it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from tests.support.trained_models import DATA, LEAVES, answered, in_tree, numbers, sparse, strangers, table, three, two, values

import relevo
from relevo.converters.boosting.lightgbm import read_file
from relevo.converters.boosting.lightgbm_text import read_text, to_ensemble
from relevo.domain.signature import RecordInput
from relevo.errors import ConversionError, ImportModelError, InvalidOptionsError, RelevoError, UnknownFileFormatError
from relevo.importing.import_model import import_model

if TYPE_CHECKING:
    from pathlib import Path

lgb = pytest.importorskip("lightgbm", reason="LightGBM is an extra")

SMALL = {"n_estimators": 8, "num_leaves": 7, "n_jobs": 1, "verbose": -1, "min_child_samples": 5}
ROWS = table()


@strangers
@pytest.mark.parametrize("name", ["genlin_fmtp_poisson_Frequency", "genlin_fmtp_tweedie_PurePremium"])
def test_files_with_categories_and_a_log_link_answer_as_their_writers_did(name: str) -> None:
    """Two strangers' models of insurance claims answer their thousand rows as the library of their time did."""
    body = to_ensemble(read_text((LEAVES / f"{name}.model").read_bytes()))
    said = answered(body, numbers(f"{name}_features.tsv"))
    np.testing.assert_allclose(said, numbers(f"{name}_true_predictions.txt"), rtol=1e-12)


@strangers
def test_a_file_of_thirteen_classes_answers_as_its_writer_did() -> None:
    """Raw scores of a multiclass file of version 2 with categories are those kept beside it."""
    done = read_file((LEAVES / "lg_kddcup99.model").read_bytes())
    rows = numbers("kddcup99_test.tsv")
    truth = numbers("lg_kddcup99_true_predictions.txt")
    powers = np.exp(truth - truth.max(axis=1, keepdims=True))
    np.testing.assert_allclose(answered(done.structure, rows), powers / powers.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(done.predict(rows, "margin"), truth, rtol=1e-12)


@strangers
def test_an_old_forest_answers_as_its_own_release_did() -> None:
    """Up to text version 2 a forest's leaves held probabilities; today's library would bend them once more."""
    done = read_file((LEAVES / "lg_rf_iris.model").read_bytes())
    rows = sparse("iris_test.libsvm", 4)
    truth = numbers("lg_rf_iris_true_predictions.txt")
    np.testing.assert_allclose(answered(done.structure, rows), truth, rtol=1e-12)
    np.testing.assert_allclose(done.predict(rows, "answer"), truth[:, 0], rtol=1e-12)


@strangers
def test_every_row_of_a_strangers_file_falls_into_the_leaf_it_fell_into() -> None:
    """The leaves of 39 trees are those written down beside the file."""
    body = to_ensemble(read_text((LEAVES / "lg_breast_cancer.txt").read_bytes()))
    places = answered(body, numbers("lg_breast_cancer_data.txt"), places=True)
    np.testing.assert_array_equal(in_tree(places, body), numbers("lg_breast_cancer_data_pred_leaves.txt").astype(np.int64))


@pytest.mark.parametrize("zero_as_missing", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
def test_leaves_are_equal_on_both_sides_of_every_threshold(*, zero_as_missing: bool, gaps: bool) -> None:
    """With splits that know NaN, zero, or nothing as missing, and splits by category: rows on, above and below thresholds."""
    rows = ROWS if gaps else np.nan_to_num(ROWS)
    model = lgb.LGBMRegressor(zero_as_missing=zero_as_missing, **SMALL).fit(rows, values(rows), categorical_feature=[4])
    done = read_file(model.booster_.model_to_string().encode())
    draw = np.random.default_rng(1)
    columns = [draw.choice([*done.thresholds[place], np.nan, -1.5, 7.0], 400) for place in range(5)]
    asked = np.stack(columns, axis=1)
    asked = np.concatenate([asked, np.nextafter(asked, np.inf), np.nextafter(asked, -np.inf)])
    body: Any = done.structure
    places = in_tree(answered(body, asked, places=True), body)
    np.testing.assert_array_equal(places, model.booster_.predict(asked, pred_leaf=True))


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"objective": "binary"}, two),
        ({"objective": "binary", "sigmoid": 2.0}, two),
        ({"objective": "multiclass"}, three),
        ({"objective": "multiclassova"}, three),
        ({"objective": "binary", "boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}, two),
        ({"objective": "binary", "boosting_type": "dart"}, two),
    ],
)
def test_live_classifiers_are_packed(options: dict[str, Any], target: Any) -> None:
    """Whatever the objective and the way of boosting, the package answers as `predict_proba` does."""
    model = lgb.LGBMClassifier(**SMALL, **options).fit(ROWS, target(ROWS))
    package = relevo.pack(model, name="live", samples=ROWS, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-12
    assert package.manifest.lineage.framework == f"LightGBM {lgb.__version__}"


@pytest.mark.parametrize(
    "objective", ["regression", "poisson", "gamma", "tweedie", "cross_entropy", "cross_entropy_lambda", "sqrt"]
)
def test_live_regressions_are_packed(objective: str) -> None:
    """Each link is written as LightGBM applies it."""
    options = {"reg_sqrt": True} if objective == "sqrt" else {"objective": objective}
    target = values(ROWS) / (1 + values(ROWS)) if objective.startswith("cross") else values(ROWS)
    model = lgb.LGBMRegressor(**SMALL, **options).fit(ROWS, target)
    package = relevo.pack(model, name="live", samples=ROWS, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-10


def test_a_live_booster_is_packed() -> None:
    """A bare Booster tells no class names; numbers stand for them unless a person gives some."""
    booster = lgb.train({"objective": "binary", "verbose": -1}, lgb.Dataset(ROWS, two(ROWS)), 5)
    package = relevo.pack(booster, name="live", samples=ROWS, labels=["stays", "leaves"], figures=False)
    assert package.manifest.output.labels == ("stays", "leaves")


def test_linear_leaves_are_refused_in_words() -> None:
    """A model with linear models in its leaves is not converted wrongly, but refused with the way out."""
    model = lgb.LGBMRegressor(linear_tree=True, **SMALL).fit(ROWS, values(ROWS))
    with pytest.raises(ConversionError, match="without linear_tree"):
        read_file(model.booster_.model_to_string().encode())


def test_a_file_comes_in_through_the_quarantine(tmp_path: Path) -> None:
    """What is missing is asked for at once, with a guess; told, the file becomes a package that knows what may be missing."""
    file = tmp_path / "model.anything"
    rows = ROWS.copy()
    rows[:, 1] = np.nan_to_num(rows[:, 1])
    lgb.LGBMClassifier(**SMALL).fit(rows, three(rows)).booster_.save_model(str(file))
    with pytest.raises(InvalidOptionsError, match=r"--labels \(3 of them.*--labels 0,1,2"):
        import_model(file, name="told", figures=False)
    package = import_model(file, name="told", labels=("a", "b", "c"), figures=False)
    lineage = package.manifest.lineage
    assert (lineage.parity.against, lineage.parity.samples) == ("original", "generated")
    assert lineage.framework.startswith("LightGBM (text v")
    required = {field.name for field in package.manifest.input.fields if field.required}  # type: ignore[union-attr]  # a record
    assert "Column_1" in required
    assert "Column_0" not in required


def test_cut_and_garbled_texts_are_refused() -> None:
    """A text cut off anywhere is refused before the library sees it, which would end the process over some."""
    data = lgb.LGBMRegressor(**SMALL).fit(ROWS, values(ROWS)).booster_.model_to_string().encode() + b"\n"
    trees, end = data.index(b"end of trees"), data.index(b"end of parameters")
    for cut in [*np.linspace(10, trees - 1, 40).astype(int).tolist(), data.index(b"\nparameters:") + 40, end - 1]:
        with pytest.raises(RelevoError):
            read_file(data[:cut])
    for old, new in (
        (b"left_child=", b"left_child=9"),
        (b"leaf_value=", b"leaf_value=x"),
        (b"split_feature=", b"split_feature=99"),
    ):
        with pytest.raises(ConversionError):
            read_file(data.replace(old, new, 1))


@strangers
@pytest.mark.parametrize("name", ["lg_1tree.json", "lg_1tree_1leaf.json"])
def test_a_json_dump_is_refused_with_the_way_out(name: str) -> None:
    """A dump that LightGBM itself cannot load is no model, and the error says what to save instead."""
    with pytest.raises(ImportModelError, match="save_model"):
        import_model(LEAVES / name, name="dump", figures=False)


@strangers
def test_a_fragment_of_a_text_is_no_model() -> None:
    """One tree cut out of a text is refused as a file of no known format."""
    with pytest.raises(UnknownFileFormatError):
        import_model(DATA / "leaves" / "tree_3leaves.txt", name="part", figures=False)


def test_a_space_in_a_columns_name_is_the_samples_own() -> None:
    """LightGBM keeps spaces as underscores: frames and records with spaces are taken, and served under their own names."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(200, 3)), columns=["edad", "ingreso mensual", "precio (€)"])
    model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(frame, frame.sum(axis=1))
    for samples in (frame, frame.to_dict("records")):
        package = relevo.pack(model, name="spaces", samples=samples, truth=frame.sum(axis=1).tolist(), figures=False)
        assert isinstance(package.manifest.input, RecordInput)
        assert [field.name for field in package.manifest.input.fields] == list(frame.columns)
