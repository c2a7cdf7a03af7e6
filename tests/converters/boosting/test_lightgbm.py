"""LightGBM text files of every objective are converted, and every row reaches the same leaf as in LightGBM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from tests.support.trained_models import (
    DATA,
    LEAVES,
    binary_target,
    feature_table,
    graph_output,
    leaf_in_tree,
    positive_target,
    read_libsvm,
    read_numbers,
    requires_model_files,
    three_class_target,
)

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
ROWS = feature_table()


@requires_model_files
@pytest.mark.parametrize("name", ["genlin_fmtp_poisson_Frequency", "genlin_fmtp_tweedie_PurePremium"])
def test_files_with_categories_and_a_log_link_match_their_library(name: str) -> None:
    """Two third-party models of insurance claims predict their thousand rows as the library of their release did."""
    body = to_ensemble(read_text((LEAVES / f"{name}.model").read_bytes()))
    output = graph_output(body, read_numbers(f"{name}_features.tsv"))
    np.testing.assert_allclose(output, read_numbers(f"{name}_true_predictions.txt"), rtol=1e-12)


@requires_model_files
def test_a_file_of_thirteen_classes_matches_its_library() -> None:
    """A multiclass file of text version 2 with categories gives the recorded raw scores."""
    parsed = read_file((LEAVES / "lg_kddcup99.model").read_bytes())
    rows = read_numbers("kddcup99_test.tsv")
    truth = read_numbers("lg_kddcup99_true_predictions.txt")
    powers = np.exp(truth - truth.max(axis=1, keepdims=True))
    np.testing.assert_allclose(graph_output(parsed.structure, rows), powers / powers.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(parsed.predict(rows, "margin"), truth, rtol=1e-12)


@requires_model_files
def test_an_old_forest_matches_its_release() -> None:
    """A forest of text version 2 has probabilities in its leaves; the current library would apply the link again."""
    parsed = read_file((LEAVES / "lg_rf_iris.model").read_bytes())
    rows = read_libsvm("iris_test.libsvm", 4)
    truth = read_numbers("lg_rf_iris_true_predictions.txt")
    np.testing.assert_allclose(graph_output(parsed.structure, rows), truth, rtol=1e-12)
    np.testing.assert_allclose(parsed.predict(rows, "answer"), truth[:, 0], rtol=1e-12)


@requires_model_files
def test_leaf_indices_of_a_third_party_file_match() -> None:
    """The leaf indices of 39 trees equal the recorded ones."""
    body = to_ensemble(read_text((LEAVES / "lg_breast_cancer.txt").read_bytes()))
    leaves = graph_output(body, read_numbers("lg_breast_cancer_data.txt"), leaves=True)
    np.testing.assert_array_equal(
        leaf_in_tree(leaves, body), read_numbers("lg_breast_cancer_data_pred_leaves.txt").astype(np.int64)
    )


@pytest.mark.parametrize("zero_as_missing", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
def test_leaves_are_equal_on_both_sides_of_every_threshold(*, zero_as_missing: bool, gaps: bool) -> None:
    """Leaves are equal on, above and below thresholds, with NaN, zero or nothing as missing, and with category splits."""
    rows = ROWS if gaps else np.nan_to_num(ROWS)
    model = lgb.LGBMRegressor(zero_as_missing=zero_as_missing, **SMALL).fit(rows, positive_target(rows), categorical_feature=[4])
    parsed = read_file(model.booster_.model_to_string().encode())
    draw = np.random.default_rng(1)
    columns = [draw.choice([*parsed.thresholds[index], np.nan, -1.5, 7.0], 400) for index in range(5)]
    probes = np.stack(columns, axis=1)
    probes = np.concatenate([probes, np.nextafter(probes, np.inf), np.nextafter(probes, -np.inf)])
    body: Any = parsed.structure
    leaves = leaf_in_tree(graph_output(body, probes, leaves=True), body)
    np.testing.assert_array_equal(leaves, model.booster_.predict(probes, pred_leaf=True))


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"objective": "binary"}, binary_target),
        ({"objective": "binary", "sigmoid": 2.0}, binary_target),
        ({"objective": "multiclass"}, three_class_target),
        ({"objective": "multiclassova"}, three_class_target),
        ({"objective": "binary", "boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}, binary_target),
        ({"objective": "binary", "boosting_type": "dart"}, binary_target),
    ],
)
def test_live_classifiers_are_packed(options: dict[str, Any], target: Any) -> None:
    """For every objective and boosting type the package predicts as `predict_proba` does."""
    model = lgb.LGBMClassifier(**SMALL, **options).fit(ROWS, target(ROWS))
    package = relevo.pack(model, name="live", samples=ROWS, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-12
    assert package.manifest.lineage.framework == f"LightGBM {lgb.__version__}"


@pytest.mark.parametrize(
    "objective", ["regression", "poisson", "gamma", "tweedie", "cross_entropy", "cross_entropy_lambda", "sqrt"]
)
def test_live_regressions_are_packed(objective: str) -> None:
    """Each link is exported as LightGBM applies it."""
    options = {"reg_sqrt": True} if objective == "sqrt" else {"objective": objective}
    target = positive_target(ROWS) / (1 + positive_target(ROWS)) if objective.startswith("cross") else positive_target(ROWS)
    model = lgb.LGBMRegressor(**SMALL, **options).fit(ROWS, target)
    package = relevo.pack(model, name="live", samples=ROWS, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-10


def test_a_live_booster_is_packed() -> None:
    """A bare Booster has no class names; they are numbered unless the user gives labels."""
    booster = lgb.train({"objective": "binary", "verbose": -1}, lgb.Dataset(ROWS, binary_target(ROWS)), 5)
    package = relevo.pack(booster, name="live", samples=ROWS, labels=["stays", "leaves"], figures=False)
    assert package.manifest.output.labels == ("stays", "leaves")


def test_linear_leaves_are_rejected() -> None:
    """A model with linear models in its leaves is rejected, with the option that avoids them."""
    model = lgb.LGBMRegressor(linear_tree=True, **SMALL).fit(ROWS, positive_target(ROWS))
    with pytest.raises(ConversionError, match="without linear_tree"):
        read_file(model.booster_.model_to_string().encode())


def test_a_file_is_imported_through_the_sandbox(tmp_path: Path) -> None:
    """Without labels the error names the flag with an example; with them the import makes fields with missing values optional."""
    file = tmp_path / "model.anything"
    rows = ROWS.copy()
    rows[:, 1] = np.nan_to_num(rows[:, 1])
    lgb.LGBMClassifier(**SMALL).fit(rows, three_class_target(rows)).booster_.save_model(str(file))
    with pytest.raises(InvalidOptionsError, match=r"--labels \(3 of them.*--labels 0,1,2"):
        import_model(file, name="sandboxed", figures=False)
    package = import_model(file, name="sandboxed", labels=("a", "b", "c"), figures=False)
    lineage = package.manifest.lineage
    assert (lineage.parity.reference, lineage.parity.samples) == ("original", "generated")
    assert lineage.framework.startswith("LightGBM (text v")
    required = {field.name for field in package.manifest.input.fields if field.required}  # type: ignore[union-attr]  # a record
    assert "Column_1" in required
    assert "Column_0" not in required


def test_truncated_and_damaged_texts_are_rejected() -> None:
    """A truncated text is rejected before the library reads it, which would abort the process for some."""
    data = lgb.LGBMRegressor(**SMALL).fit(ROWS, positive_target(ROWS)).booster_.model_to_string().encode() + b"\n"
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


@requires_model_files
@pytest.mark.parametrize("name", ["lg_1tree.json", "lg_1tree_1leaf.json"])
def test_a_json_dump_is_rejected_with_the_alternative(name: str) -> None:
    """A JSON dump, which LightGBM itself cannot load, is rejected, and the error says what to save instead."""
    with pytest.raises(ImportModelError, match="save_model"):
        import_model(LEAVES / name, name="dump", figures=False)


@requires_model_files
def test_a_fragment_of_a_text_is_rejected() -> None:
    """A single tree cut out of a text file is rejected as an unknown format."""
    with pytest.raises(UnknownFileFormatError):
        import_model(DATA / "leaves" / "tree_3leaves.txt", name="part", figures=False)


def test_spaces_in_column_names_are_kept() -> None:
    """LightGBM stores spaces as underscores: frames and records with spaces are accepted, and served under their own names."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(200, 3)), columns=["edad", "ingreso mensual", "precio (€)"])
    model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(frame, frame.sum(axis=1))
    for samples in (frame, frame.to_dict("records")):
        package = relevo.pack(model, name="spaces", samples=samples, truth=frame.sum(axis=1).tolist(), figures=False)
        assert isinstance(package.manifest.input, RecordInput)
        assert [field.name for field in package.manifest.input.fields] == list(frame.columns)
