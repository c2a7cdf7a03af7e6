"""XGBoost models of every file format are converted, and every row reaches the same leaf as in XGBoost."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
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
from relevo.converters.boosting.xgboost import read_file, to_current_json
from relevo.converters.boosting.xgboost_json import read_learner
from relevo.converters.boosting.xgboost_legacy import read_binary
from relevo.errors import ConversionError, InvalidOptionsError, ParityError, RelevoError
from relevo.importing.import_model import import_model

if TYPE_CHECKING:
    from pathlib import Path

xgb = pytest.importorskip("xgboost", reason="XGBoost is an extra")

SMALL = {"n_estimators": 8, "max_depth": 4, "n_jobs": 1}
ROWS = feature_table()
_DROPS = pytest.mark.skipif(xgb.__version__ < "3.4", reason="before XGBoost 3.4 trees are dropped by DART alone")
EDIBLE = ("edible", "poisonous")


@requires_model_files
@pytest.mark.parametrize(
    ("model", "truth", "rounds", "margin"),
    [
        ("xgagaricus.model", "xgagaricus_true_predictions.txt", 0, False),
        ("xgblin_agaricus.model", "xgblin_agaricus_true_predictions.txt", 0, False),
        ("xgblin_agaricus.model", "xgblin_agaricus_true_raw_predictions.txt", 0, True),
        ("xg_dart_agaricus.model", "xg_dart_agaricus_true_predictions.txt", 10, True),
    ],
)
def test_legacy_binaries_match_their_library(model: str, truth: str, rounds: int, *, margin: bool) -> None:
    """Files that no current XGBoost loads predict 1611 mushrooms as the library of their release did."""
    parsed = read_learner(read_binary((LEAVES / model).read_bytes()), rounds)
    output = graph_output(parsed.structure, read_libsvm("agaricus_test.libsvm", 127))
    if margin:
        output = np.log(output / (1 - output))
    np.testing.assert_allclose(output, read_numbers(truth), rtol=5e-6)


@requires_model_files
def test_binary_and_ubjson_of_one_model_are_equal() -> None:
    """The binary and the UBJSON file that XGBoost 2.0 wrote of one model predict bit for bit the same."""
    folder = DATA / "kserve" / "xgbserver" / "example_model"
    structures = [
        read_file(path.read_bytes()).structure for path in (*folder.glob("bst_model/*.bst"), *folder.glob("ubj_model/*.ubj"))
    ]
    rows = np.random.default_rng(0).uniform(0, 8, (300, 4)).round(1)
    np.testing.assert_array_equal(graph_output(structures[0], rows), graph_output(structures[1], rows))


@requires_model_files
def test_lineage_of_a_legacy_binary_says_what_was_proved() -> None:
    """Without user outputs the lineage says that nothing was proved; with them, that they were supplied; wrong ones are rejected."""
    rows, truth = read_libsvm("agaricus_test.libsvm", 127)[:40], read_numbers("xgagaricus_true_predictions.txt")[:40]
    model = LEAVES / "xgagaricus.model"
    alone = import_model(model, name="mushrooms", labels=EDIBLE, samples=rows, figures=False)
    assert alone.manifest.lineage.parity.reference == "none"
    assert alone.manifest.lineage.framework == "XGBoost before 1.0"
    proved = import_model(model, name="mushrooms", labels=EDIBLE, samples=rows, outputs=truth, figures=False)
    assert proved.manifest.lineage.parity.reference == "supplied"
    with pytest.raises(ParityError):
        import_model(model, name="mushrooms", labels=EDIBLE, samples=rows, outputs=1 - truth, figures=False)


def test_leaves_are_equal_on_both_sides_of_every_threshold() -> None:
    """Leaves are equal on a threshold, one single- or double-precision step next to it, and for missing values."""
    model = xgb.XGBRegressor(**SMALL).fit(ROWS, positive_target(ROWS))
    parsed = read_file(bytes(model.get_booster().save_raw("ubj")))
    draw = np.random.default_rng(1)
    points = np.stack([draw.choice([*parsed.thresholds[index], np.nan], 300) for index in range(5)], axis=1)
    single = points.astype(np.float32)
    probes = np.concatenate(
        [points, np.nextafter(points, np.inf), np.nextafter(single, np.float32(np.inf)), np.nextafter(single, -np.inf)]
    )
    body: Any = parsed.structure
    ours = leaf_in_tree(graph_output(body, probes, leaves=True), body)
    theirs = model.get_booster().predict(xgb.DMatrix(probes), pred_leaf=True).astype(int)
    for tree in range(ours.shape[1]):
        pairs = set(zip(ours[:, tree].tolist(), theirs[:, tree].tolist(), strict=True))
        assert len(pairs) == len({leaf for leaf, _ in pairs}) == len({leaf for _, leaf in pairs})


@pytest.mark.filterwarnings("ignore:.*`booster=.*is deprecated:UserWarning")  # while such models exist
@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({}, binary_target),
        ({}, three_class_target),
        ({"booster": "dart", "rate_drop": 0.3}, binary_target),
        pytest.param({"rate_drop": 0.3}, binary_target, marks=_DROPS),
        ({"booster": "gblinear"}, binary_target),
        ({"booster": "gblinear"}, three_class_target),
        ({"missing": 3.0}, binary_target),
    ],
)
def test_live_classifiers_are_packed(options: dict[str, Any], target: Any) -> None:
    """For every booster, and every number that means missing, the package predicts as `predict_proba` does."""
    rows = np.nan_to_num(ROWS) if "missing" in options else ROWS
    depth = {} if options.get("booster") == "gblinear" else {"max_depth": 4}
    model = xgb.XGBClassifier(n_estimators=8, n_jobs=1, **depth, **options).fit(rows, target(rows))
    package = relevo.pack(model, name="live", samples=rows, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-6
    assert package.manifest.lineage.framework == f"XGBoost {xgb.__version__}"


@pytest.mark.parametrize("objective", ["reg:squarederror", "count:poisson", "reg:gamma", "reg:tweedie", "reg:logistic"])
def test_live_regressions_are_packed(objective: str) -> None:
    """Each link is exported as XGBoost applies it."""
    target = positive_target(ROWS) / (1 + positive_target(ROWS)) if objective == "reg:logistic" else positive_target(ROWS)
    package = relevo.pack(
        xgb.XGBRegressor(objective=objective, **SMALL).fit(ROWS, target), name="live", samples=ROWS, figures=False
    )
    assert package.manifest.lineage.parity.rows == len(ROWS)


def test_an_early_stopped_model_uses_its_best_rounds() -> None:
    """The rounds after the best one are ignored, as in the model's own predict."""
    model = xgb.XGBClassifier(n_estimators=60, early_stopping_rounds=3, n_jobs=1)
    model.fit(ROWS[:200], binary_target(ROWS[:200]), eval_set=[(ROWS[200:], binary_target(ROWS[200:]))], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    relevo.pack(model, name="live", samples=ROWS, figures=False)


def test_category_splits_match() -> None:
    """A Booster with categories predicts the same for known, unknown, negative and missing ones."""
    data = xgb.DMatrix(ROWS, binary_target(ROWS), feature_types=[*"qqqq", "c"], enable_categorical=True)
    booster = xgb.train({"objective": "binary:logistic", "max_cat_to_onehot": 1, "nthread": 1}, data, 6)
    body: Any = read_file(bytes(booster.save_raw("json"))).structure
    assert body.derived is not None
    package = relevo.pack(booster, name="live", samples=ROWS, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-6


def test_the_last_step_of_a_pipeline_may_be_a_booster() -> None:
    """Preceding steps are exported by skl2onnx, the booster after them by our code."""
    model = make_pipeline(SimpleImputer(), xgb.XGBClassifier(**SMALL)).fit(ROWS, binary_target(ROWS))
    package = relevo.pack(model, name="live", samples=ROWS, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-6


@pytest.mark.parametrize("ending", ["json", "ubj"])
def test_a_file_is_imported_through_the_sandbox(tmp_path: Path, ending: str) -> None:
    """A file without labels is rejected naming the flag with an example; with labels it is imported, also with its raw score."""
    saved = tmp_path / f"model.{ending}"
    xgb.XGBClassifier(**SMALL).fit(ROWS, binary_target(ROWS)).save_model(saved)
    file = saved.rename(tmp_path / "model.anything")
    with pytest.raises(InvalidOptionsError, match=r"--labels \(2 of them.*--labels 0,1"):
        import_model(file, name="sandboxed", figures=False)
    package = import_model(file, name="sandboxed", labels=("no", "yes"), output="margin", figures=False)
    lineage = package.manifest.lineage
    assert (lineage.parity.reference, lineage.framework) == ("original", f"XGBoost {xgb.__version__}")
    assert package.manifest.output.activation == "sigmoid"


def test_unsupported_models_are_rejected() -> None:
    """An objective with a step function as link, and several outputs, are rejected by name."""
    model = xgb.XGBClassifier(objective="binary:hinge", **SMALL).fit(ROWS, binary_target(ROWS))
    with pytest.raises(ConversionError, match="binary:hinge"):
        read_file(bytes(model.get_booster().save_raw("json")))
    both = xgb.XGBRegressor(**SMALL).fit(ROWS, np.stack([positive_target(ROWS), binary_target(ROWS)], axis=1))
    with pytest.raises(ConversionError, match="several numbers"):
        read_file(bytes(both.get_booster().save_raw("json")))


def test_a_legacy_binary_is_converted_to_current_json() -> None:
    """A parsed binary, converted to JSON, makes the current library predict as the original booster."""
    booster = xgb.train({"objective": "count:poisson", "nthread": 1}, xgb.DMatrix(ROWS, np.round(positive_target(ROWS))), 4)
    plain = json.loads(booster.save_raw("json"))
    learner = plain["learner"]
    params = learner["learner_model_param"]
    params["base_score"], params["margin"] = str(np.log(float(params["base_score"].strip("[]")))), True
    again = xgb.Booster(model_file=bytearray(json.dumps(to_current_json(plain)).encode()))
    np.testing.assert_allclose(again.predict(xgb.DMatrix(ROWS)), booster.predict(xgb.DMatrix(ROWS)), rtol=1e-5)


@pytest.mark.parametrize("ending", ["json", "ubj"])
def test_truncated_and_damaged_files_are_rejected(ending: str) -> None:
    """A truncated file, or one whose children form no tree, is rejected."""
    data = bytes(xgb.XGBClassifier(**SMALL).fit(ROWS, binary_target(ROWS)).get_booster().save_raw(ending))
    for cut in np.linspace(2, len(data) - 1, 20).astype(int).tolist():
        with pytest.raises(RelevoError):
            read_file(data[:cut])
    plain = json.loads(xgb.XGBClassifier(**SMALL).fit(ROWS, binary_target(ROWS)).get_booster().save_raw("json"))
    plain["learner"]["gradient_booster"]["model"]["trees"][0]["left_children"][0] = 0
    with pytest.raises(ConversionError):
        read_learner(plain)


@requires_model_files
@pytest.mark.parametrize("name", ["xgagaricus.model", "xgblin_agaricus.model", "xg_dart_agaricus.model"])
def test_truncated_binaries_are_rejected(name: str) -> None:
    """A truncated binary, or one with trailing bytes, is rejected."""
    data = (LEAVES / name).read_bytes()
    for cut in np.linspace(1, len(data) - 1, 40).astype(int).tolist():
        with pytest.raises(ConversionError):
            read_binary(data[:cut])
    with pytest.raises(ConversionError, match="behind its end"):
        read_binary(data + b"more")


def _cpu_seconds() -> float:
    """Processor seconds of this process and of its finished children."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@requires_model_files
@pytest.mark.parametrize(
    "name",
    ["leaves/xgagaricus.model", "leaves/lg_breast_cancer.txt", "n-harish-mnist/mnist.h5", "n-harish-mnist/onnx_mnist.onnx"],
)
@pytest.mark.parametrize("damage", ["cut", "garbled", "emptied"])
def test_broken_files_are_rejected_quickly(tmp_path: Path, name: str, damage: str) -> None:
    """A truncated, an overwritten and an empty file are rejected with a sentence, in under ten seconds of processor time."""
    whole = (DATA / name).read_bytes()
    middle = len(whole) // 2
    broken = {"cut": whole[:middle], "garbled": b"\xff" * 512 + whole[512:], "emptied": b""}[damage]
    file = tmp_path / "broken"
    file.write_bytes(broken)
    before = _cpu_seconds()
    with pytest.raises(RelevoError) as refusal:
        import_model(file, name="broken", labels=("a", "b"), scale=1.0, figures=False)
    assert _cpu_seconds() - before < 10
    assert str(refusal.value).endswith(".")
    assert "Traceback" not in str(refusal.value)
