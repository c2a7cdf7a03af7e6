"""XGBoost's models come in from every form they were saved in, and every row falls into the leaf that XGBoost puts it in."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from tests.support.trained_models import DATA, LEAVES, answered, in_tree, numbers, sparse, strangers, table, three, two, values

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
ROWS = table()
_DROPS = pytest.mark.skipif(xgb.__version__ < "3.4", reason="before XGBoost 3.4 trees are dropped by DART alone")
EDIBLE = ("edible", "poisonous")


@strangers
@pytest.mark.parametrize(
    ("model", "truth", "rounds", "margin"),
    [
        ("xgagaricus.model", "xgagaricus_true_predictions.txt", 0, False),
        ("xgblin_agaricus.model", "xgblin_agaricus_true_predictions.txt", 0, False),
        ("xgblin_agaricus.model", "xgblin_agaricus_true_raw_predictions.txt", 0, True),
        ("xg_dart_agaricus.model", "xg_dart_agaricus_true_predictions.txt", 10, True),
    ],
)
def test_binaries_of_old_answer_as_their_writers_did(model: str, truth: str, rounds: int, *, margin: bool) -> None:
    """Files that no XGBoost of today loads answer 1611 mushrooms as the library of their time did."""
    told = read_learner(read_binary((LEAVES / model).read_bytes()), rounds)
    said = answered(told.structure, sparse("agaricus_test.libsvm", 127))
    if margin:
        said = np.log(said / (1 - said))
    np.testing.assert_allclose(said, numbers(truth), rtol=5e-6)


@strangers
def test_one_model_in_two_forms_is_one_model() -> None:
    """The binary and the universal binary JSON that XGBoost 2.0 wrote of one model answer bit for bit alike."""
    folder = DATA / "kserve" / "xgbserver" / "example_model"
    bodies = [read_file(path.read_bytes()).structure for path in (*folder.glob("bst_model/*.bst"), *folder.glob("ubj_model/*.ubj"))]
    rows = np.random.default_rng(0).uniform(0, 8, (300, 4)).round(1)
    np.testing.assert_array_equal(answered(bodies[0], rows), answered(bodies[1], rows))


@strangers
def test_an_old_binary_says_loudly_that_nobody_was_asked() -> None:
    """Without predictions the lineage says that nothing was proved; with them, that they were supplied; wrong ones are refused."""
    rows, truth = sparse("agaricus_test.libsvm", 127)[:40], numbers("xgagaricus_true_predictions.txt")[:40]
    model = LEAVES / "xgagaricus.model"
    alone = import_model(model, name="mushrooms", labels=EDIBLE, samples=rows, figures=False)
    assert alone.manifest.lineage.parity.against == "none"
    assert alone.manifest.lineage.framework == "XGBoost before 1.0"
    proved = import_model(model, name="mushrooms", labels=EDIBLE, samples=rows, outputs=truth, figures=False)
    assert proved.manifest.lineage.parity.against == "supplied"
    with pytest.raises(ParityError):
        import_model(model, name="mushrooms", labels=EDIBLE, samples=rows, outputs=1 - truth, figures=False)


def test_leaves_are_equal_on_both_sides_of_every_threshold() -> None:
    """Rows on a threshold, one single-precision step beside it, one double-precision step beside it, and missing."""
    model = xgb.XGBRegressor(**SMALL).fit(ROWS, values(ROWS))
    done = read_file(bytes(model.get_booster().save_raw("ubj")))
    draw = np.random.default_rng(1)
    at = np.stack([draw.choice([*done.thresholds[place], np.nan], 300) for place in range(5)], axis=1)
    single = at.astype(np.float32)
    asked = np.concatenate([at, np.nextafter(at, np.inf), np.nextafter(single, np.float32(np.inf)), np.nextafter(single, -np.inf)])
    body: Any = done.structure
    ours = in_tree(answered(body, asked, places=True), body)
    theirs = model.get_booster().predict(xgb.DMatrix(asked), pred_leaf=True).astype(int)
    for tree in range(ours.shape[1]):
        pairs = set(zip(ours[:, tree].tolist(), theirs[:, tree].tolist(), strict=True))
        assert len(pairs) == len({leaf for leaf, _ in pairs}) == len({leaf for _, leaf in pairs})


@pytest.mark.filterwarnings("ignore:.*`booster=.*is deprecated:UserWarning")  # as long as there are such models
@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({}, two),
        ({}, three),
        ({"booster": "dart", "rate_drop": 0.3}, two),
        pytest.param({"rate_drop": 0.3}, two, marks=_DROPS),
        ({"booster": "gblinear"}, two),
        ({"booster": "gblinear"}, three),
        ({"missing": 3.0}, two),
    ],
)
def test_live_classifiers_are_packed(options: dict[str, Any], target: Any) -> None:
    """Whatever the booster, and whatever number means missing, the package answers as `predict_proba` does."""
    rows = np.nan_to_num(ROWS) if "missing" in options else ROWS
    depth = {} if options.get("booster") == "gblinear" else {"max_depth": 4}
    model = xgb.XGBClassifier(n_estimators=8, n_jobs=1, **depth, **options).fit(rows, target(rows))
    package = relevo.pack(model, name="live", samples=rows, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-6
    assert package.manifest.lineage.framework == f"XGBoost {xgb.__version__}"


@pytest.mark.parametrize("objective", ["reg:squarederror", "count:poisson", "reg:gamma", "reg:tweedie", "reg:logistic"])
def test_live_regressions_are_packed(objective: str) -> None:
    """Each link is written as XGBoost applies it."""
    target = values(ROWS) / (1 + values(ROWS)) if objective == "reg:logistic" else values(ROWS)
    package = relevo.pack(
        xgb.XGBRegressor(objective=objective, **SMALL).fit(ROWS, target), name="live", samples=ROWS, figures=False
    )
    assert package.manifest.lineage.parity.rows == len(ROWS)


def test_an_early_stopped_model_answers_with_its_best_rounds() -> None:
    """The rounds after the best one are left out, as the model itself leaves them out."""
    model = xgb.XGBClassifier(n_estimators=60, early_stopping_rounds=3, n_jobs=1)
    model.fit(ROWS[:200], two(ROWS[:200]), eval_set=[(ROWS[200:], two(ROWS[200:]))], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    relevo.pack(model, name="live", samples=ROWS, figures=False)


def test_splits_by_category_go_where_xgboost_sends_them() -> None:
    """A Booster with categories answers alike for known, unknown, negative and missing ones."""
    data = xgb.DMatrix(ROWS, two(ROWS), feature_types=[*"qqqq", "c"], enable_categorical=True)
    booster = xgb.train({"objective": "binary:logistic", "max_cat_to_onehot": 1, "nthread": 1}, data, 6)
    body: Any = read_file(bytes(booster.save_raw("json"))).structure
    assert body.derived is not None
    package = relevo.pack(booster, name="live", samples=ROWS, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-6


def test_the_last_step_of_a_pipeline_may_be_a_booster() -> None:
    """Steps before it are written by their own converter, the booster behind them by ours."""
    model = make_pipeline(SimpleImputer(), xgb.XGBClassifier(**SMALL)).fit(ROWS, two(ROWS))
    package = relevo.pack(model, name="live", samples=ROWS, figures=False)
    assert package.manifest.lineage.parity.largest_difference < 1e-6


@pytest.mark.parametrize("ending", ["json", "ubj"])
def test_a_file_comes_in_through_the_quarantine(tmp_path: Path, ending: str) -> None:
    """What is missing is asked for at once, with a guess; told, the file becomes a package; its raw score can be had."""
    saved = tmp_path / f"model.{ending}"
    xgb.XGBClassifier(**SMALL).fit(ROWS, two(ROWS)).save_model(saved)
    file = saved.rename(tmp_path / "model.anything")
    with pytest.raises(InvalidOptionsError, match=r"--labels \(2 of them.*--labels 0,1"):
        import_model(file, name="told", figures=False)
    package = import_model(file, name="told", labels=("no", "yes"), output="margin", figures=False)
    lineage = package.manifest.lineage
    assert (lineage.parity.against, lineage.framework) == ("original", f"XGBoost {xgb.__version__}")
    assert package.manifest.output.activation == "sigmoid"


def test_what_cannot_be_written_is_refused_in_words() -> None:
    """An objective with a step for a link, and several answers at once, are named."""
    model = xgb.XGBClassifier(objective="binary:hinge", **SMALL).fit(ROWS, two(ROWS))
    with pytest.raises(ConversionError, match="binary:hinge"):
        read_file(bytes(model.get_booster().save_raw("json")))
    both = xgb.XGBRegressor(**SMALL).fit(ROWS, np.stack([values(ROWS), two(ROWS)], axis=1))
    with pytest.raises(ConversionError, match="several numbers"):
        read_file(bytes(both.get_booster().save_raw("json")))


def test_an_old_binary_told_again_is_loaded_by_todays_library() -> None:
    """Trees read of a binary, told as JSON, give today's library the answers that our graph gives."""
    booster = xgb.train({"objective": "count:poisson", "nthread": 1}, xgb.DMatrix(ROWS, np.round(values(ROWS))), 4)
    plain = json.loads(booster.save_raw("json"))
    learner = plain["learner"]
    told = learner["learner_model_param"]
    told["base_score"], told["margin"] = str(np.log(float(told["base_score"].strip("[]")))), True
    again = xgb.Booster(model_file=bytearray(json.dumps(to_current_json(plain)).encode()))
    np.testing.assert_allclose(again.predict(xgb.DMatrix(ROWS)), booster.predict(xgb.DMatrix(ROWS)), rtol=1e-5)


@pytest.mark.parametrize("ending", ["json", "ubj"])
def test_cut_and_garbled_files_are_refused(ending: str) -> None:
    """A file cut off anywhere, or with children that make no tree, is refused and never half taken."""
    data = bytes(xgb.XGBClassifier(**SMALL).fit(ROWS, two(ROWS)).get_booster().save_raw(ending))
    for cut in np.linspace(2, len(data) - 1, 20).astype(int).tolist():
        with pytest.raises(RelevoError):
            read_file(data[:cut])
    plain = json.loads(xgb.XGBClassifier(**SMALL).fit(ROWS, two(ROWS)).get_booster().save_raw("json"))
    plain["learner"]["gradient_booster"]["model"]["trees"][0]["left_children"][0] = 0
    with pytest.raises(ConversionError):
        read_learner(plain)


@strangers
@pytest.mark.parametrize("name", ["xgagaricus.model", "xgblin_agaricus.model", "xg_dart_agaricus.model"])
def test_cut_binaries_are_refused(name: str) -> None:
    """A binary cut off anywhere, or with something behind its end, is refused."""
    data = (LEAVES / name).read_bytes()
    for cut in np.linspace(1, len(data) - 1, 40).astype(int).tolist():
        with pytest.raises(ConversionError):
            read_binary(data[:cut])
    with pytest.raises(ConversionError, match="behind its end"):
        read_binary(data + b"more")


def _worked() -> float:
    """Seconds of processor time of this process and of those it waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@strangers
@pytest.mark.parametrize(
    "name",
    ["leaves/xgagaricus.model", "leaves/lg_breast_cancer.txt", "n-harish-mnist/mnist.h5", "n-harish-mnist/onnx_mnist.onnx"],
)
@pytest.mark.parametrize("damage", ["cut", "garbled", "emptied"])
def test_broken_files_are_refused_soon_and_in_words(tmp_path: Path, name: str, damage: str) -> None:
    """Half a file, a file with a hole in it and an empty one are refused in under ten seconds of work, with a sentence."""
    whole = (DATA / name).read_bytes()
    middle = len(whole) // 2
    broken = {"cut": whole[:middle], "garbled": b"\xff" * 512 + whole[512:], "emptied": b""}[damage]
    file = tmp_path / "broken"
    file.write_bytes(broken)
    before = _worked()
    with pytest.raises(RelevoError) as refusal:
        import_model(file, name="broken", labels=("a", "b"), scale=1.0, figures=False)
    assert _worked() - before < 10
    assert str(refusal.value).endswith(".")
    assert "Traceback" not in str(refusal.value)
