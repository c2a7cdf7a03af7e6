"""Tutorial and how-to pages run, with the files that they need."""

from __future__ import annotations

import csv
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.support.doc_runner import ROOT, Tour, blocks
from tests.support.forked_docs import Forking

import relevo

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("skl2onnx")


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    one = Tour(tmp_path)
    yield one
    one.stop()


class Visitor(Tour):
    """A tour that sends digits as soon as the server is up. Lifetime: the test."""

    digits: tuple[bytes, ...] = ()

    def serve(self, *flags: str) -> None:
        """Start the server, and send digits."""
        super().serve(*flags)
        with self.client() as client:
            for digit in self.digits:
                client.predict("digits", digit)
            while len(client.history(limit=len(self.digits)).items) < len(self.digits):
                pass


def test_the_tutorial_and_labelling_run(tmp_path: Path, digit_pngs: list[bytes]) -> None:
    """The tutorial and the page on labelling run one after the other."""
    visitor = Visitor(tmp_path)
    visitor.digits = tuple(digit_pngs[:3])
    try:
        visitor.walk("docs/tutorial/first-model.md")
        visitor.walk("docs/how-to/label-predictions.md")
        with relevo.Client(visitor.url) as client:
            (digits,) = client.models()
            assert (digits["versions"], digits["aliases"]) == (1, {"champion": 1}), "the same training is the same version"
            newest, before = client.history(limit=2).items
            assert (newest["label"], before["label"]) == ("7", None), "only what was looked at is labelled"
            assert [one["note"] for one in client.labels(newest["query_id"])][-3:] == [
                "seen on the envelope",
                "checked by hand",
                "read again",
            ]
        assert newest["query_id"] in (visitor.folder / "labelled.csv").read_text(encoding="utf-8")
    finally:
        visitor.stop()


def test_the_churn_story_runs(tmp_path: Path) -> None:
    """The churn tutorial runs on generated customers."""
    with Forking(tmp_path) as program:
        tour = Tour(Path(shutil.copytree(ROOT / "examples" / "churn", tmp_path / "churn")), program)
        tour.environ["RELEVO_TEST_DATA"] = str(tmp_path / "nowhere")
        try:
            tour.walk("docs/tutorial/churn.md")
            with tour.client() as client:
                (churn,) = client.models()
                assert (churn["versions"], churn["aliases"]) == (2, {"champion": 1})
                assert [one["label"] for one in client.history(limit=2).items] == ["leaves", None]
        finally:
            tour.stop()


def test_the_mnist_story_shows_what_the_example_runs() -> None:
    """Commands and responses of the MNIST tutorial are those of the example's README, which is run."""
    run = {line for _, text in blocks("examples/mnist/README.md", "sh", "json") for line in text.splitlines()}
    told = [line for _, text in blocks("docs/tutorial/mnist.md", "sh", "json") for line in text.splitlines()]
    assert told
    assert not [line for line in told if line not in run]


def test_importing_runs(tour: Tour) -> None:
    """The page on importing runs: ONNX, a pickle and an image network."""
    _write_a_table_model(tour.folder)
    _write_a_network(tour.folder)
    tour.walk("docs/how-to/import-a-model.md")


def test_importing_keras_runs(tour: Tour) -> None:
    """The page on Keras runs: HDF5, an architecture with weights, a SavedModel."""
    pytest.importorskip("tensorflow", reason="Keras files need the extra 'keras'")
    pytest.importorskip("tf2onnx", reason="Keras files need the extra 'keras'")
    subprocess.run([sys.executable, "-W", "ignore", "-c", _KERAS_FILES], cwd=tour.folder, check=True, capture_output=True)
    tour.walk("docs/how-to/import-a-keras-model.md")


#: In a separate process, because TensorFlow cannot be unloaded.
_KERAS_FILES = """
import keras
from keras import layers

def net(side, colours, labels):
    return keras.Sequential([keras.Input((side, side, colours)), layers.Flatten(), layers.Dense(labels, activation="softmax")])

net(28, 1, 10).save("mnist.h5")
pets = net(16, 3, 2)
open("model.json", "w").write(pets.to_json())
pets.save("whole.h5")
__import__("os").rename("whole.h5", "weights.h5")
pets.export("saved_model", verbose=False)
"""


def test_importing_a_booster_runs(tour: Tour) -> None:
    """The page on boosters runs with an XGBoost model."""
    xgboost = pytest.importorskip("xgboost", reason="XGBoost's files need the extra 'xgboost'")
    x = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    names, truth = ["tenure", "charge", "calls"], x.sum(axis=1) > 0
    rows = xgboost.DMatrix(x, truth, feature_names=names)
    xgboost.train({"objective": "binary:logistic", "max_depth": 2}, rows, num_boost_round=3).save_model(tour.folder / "model.ubj")
    with (tour.folder / "held_out.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*names, "churned"])
        table.writerows([*map(float, row), "leaves" if left else "stays"] for row, left in zip(x, truth, strict=True))
    tour.walk("docs/how-to/import-a-booster.md")


def test_importing_a_file_of_another_time_runs(tour: Tour) -> None:
    """The page on old libraries runs: a pickle is verified with stored outputs."""
    _write_a_table_model(tour.folder)
    model = pickle.loads((tour.folder / "model.pkl").read_bytes())  # noqa: S301 - written a line above
    rows = np.random.default_rng(1).normal(size=(40, 3))
    names = ["tenure", "charge", "calls"]
    np.savetxt(tour.folder / "rows.csv", rows, delimiter=",", header=",".join(names), comments="", fmt="%.17g")
    np.savetxt(tour.folder / "scores.csv", model.predict_proba(rows), delimiter=",", fmt="%.17g")
    relevo.pack(model, name="churn", samples=rows, features=names, figures=False, out=tour.folder / "churn.zip")
    tour.walk("docs/how-to/import-a-file-from-another-time.md")


def _write_a_table_model(folder: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    y = np.where(x.sum(axis=1) > 0, "yes", "no")
    model = LogisticRegression().fit(x, y)
    (folder / "model.onnx").write_bytes(to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString())
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    with (folder / "held_out.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["tenure", "charge", "calls", "churned"])
        rows.writerows([*map(float, row), truth] for row, truth in zip(x, y, strict=True))


def _write_a_network(folder: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save_model

    weights = np.random.default_rng(0).normal(scale=0.01, size=(30000, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 100, 100, 3])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "net", [shape], [scores], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_model(model, str(folder / "net.onnx"))
