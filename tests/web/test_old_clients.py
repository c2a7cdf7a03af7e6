"""Requests of older services' clients, with curl and requests, to models imported without further options."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from tests.support.chaos import until
from tests.support.server import running, settings_of, started

from relevo.importing.import_model import import_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from relevo.config import Settings
    from relevo.package.package import Package

onnx: Any = pytest.importorskip("onnx")
requests: Any = pytest.importorskip("requests")
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the clients are curl's, which is not here")

_COMPOSE = Path(__file__).parents[2] / "compose.yaml"
_DIGITS = tuple("0123456789")
_LUNGS = ("Bacterial pneumonia", "Normal", "Viral pneumonia")


def _network(channels: int, side: int, columns: int, end: str) -> Any:
    """A Keras image model, (n, side, side, channels): channel means, one dense layer, one activation."""
    helper = onnx.helper
    draw = np.random.default_rng(3)
    weights = (draw.normal(size=(channels, columns)) * 6).astype(np.float32)
    bias = -weights.mean(axis=0) / 2
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Gemm", ["mean", "weights", "bias"], ["logits"]),
            helper.make_node(end, ["logits"], ["scores"]),
        ],
        "network",
        [helper.make_tensor_value_info("picture", 1, ["n", side, side, channels])],
        [helper.make_tensor_value_info("scores", 1, ["n", columns])],
        [onnx.numpy_helper.from_array(weights, "weights"), onnx.numpy_helper.from_array(bias, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _imported(folder: Path, file: str, network: Any, **options: Any) -> Package:
    onnx.save(network, folder / file)
    return import_model(folder / file, preprocess="01", figures=False, **options)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server for each of three imported files; that of the digits defaults to Spanish and uses the host names of compose.yaml."""
    folder = tmp_path_factory.mktemp("files")
    named = re.search(r"RELEVO_ALLOWED_HOSTS: \$\{RELEVO_ALLOWED_HOSTS:-(.+)\}", _COMPOSE.read_text(encoding="utf-8"))
    assert named is not None
    models: dict[str, Callable[[], tuple[Package, dict[str, Any]]]] = {
        "mnist": lambda: (
            _imported(folder, "mnist.onnx", _network(1, 28, 10, "Softmax"), name="mnist", labels=_DIGITS),
            {"language": "es", "allowed_hosts": named[1]},
        ),
        "cats": lambda: (
            _imported(folder, "cats.onnx", _network(3, 100, 1, "Sigmoid"), name="cats-dogs", labels=("Cat", "Dog")),
            {},
        ),
        "xray": lambda: (_imported(folder, "xray.onnx", _network(1, 128, 3, "Softmax"), name="xray", labels=_LUNGS), {}),
    }
    with ExitStack() as servers:
        found = {}
        for name, make in models.items():
            package, settings = make()
            found[name] = servers.enter_context(running(tmp_path_factory.mktemp(name), package, **settings)).url
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clients' folder: a digit, a photograph, an X-ray, and a text file."""
    folder = tmp_path_factory.mktemp("client")
    draw = np.random.default_rng(1)
    Image.fromarray(draw.integers(0, 256, (28, 28), dtype=np.uint8)).save(folder / "digit.png")
    Image.fromarray(draw.integers(0, 256, (180, 240, 3), dtype=np.uint8)).save(folder / "cat.jpg")
    Image.fromarray(draw.integers(0, 256, (300, 400), dtype=np.uint8)).save(folder / "chest.jpeg")
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    return folder


def _curl(folder: Path, *words: str) -> tuple[int, str]:
    """Status and body from curl without further options."""
    command = ["curl", "--silent", "--write-out", "\n%{http_code}", *words]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True).stdout
    body, _, status = told.rpartition("\n")
    return int(status), body


def test_mnist_is_asked_by_curl(urls: dict[str, str], folder: Path) -> None:
    """`curl -F file=@…` returns the digit, as text and as a number."""
    status, body = _curl(folder, "-F", "file=@digit.png", f"{urls['mnist']}/predict")
    answer = json.loads(body)
    assert status == 200, body
    assert answer["prediction"] in _DIGITS
    assert answer["class"] == int(answer["prediction"])


def test_mnist_is_asked_from_inside_compose(urls: dict[str, str], folder: Path) -> None:
    """A container that calls http://api:5000 gets the same response; an unknown host is rejected."""
    with (folder / "digit.png").open("rb") as file:
        content = file.read()
    sent = {"file": ("digit.png", content, "image/png")}
    inside = requests.post(f"{urls['mnist']}/predict", files=sent, headers={"Host": "api:5000"}, timeout=60)
    assert inside.status_code == 200, inside.text
    assert (
        inside.json()["prediction"]
        == json.loads(_curl(folder, "-F", "file=@digit.png", f"{urls['mnist']}/predict")[1])["prediction"]
    )
    assert requests.get(f"{urls['mnist']}/health/ready", headers={"Host": "api:5000"}, timeout=60).status_code == 200
    elsewhere = requests.post(f"{urls['mnist']}/predict", files=sent, headers={"Host": "other:5000"}, timeout=60)
    assert elsewhere.status_code == 403


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("-X", "POST"), 422, "No se ha enviado ningún archivo"),
        (("-F", "file=;filename="), 422, "No se ha elegido ningún archivo"),
        (("-F", "file=@notes.txt"), 415, "El formato de la imagen no está permitido"),
        (("-F", "picture=@digit.png"), 422, "No se ha enviado ningún archivo"),
    ],
)
def test_mnist_tells_its_errors_in_spanish(
    urls: dict[str, str], folder: Path, words: tuple[str, ...], status: int, sentence: str
) -> None:
    """Without a requested language, errors are in the server's, in the field `error`."""
    told, body = _curl(folder, *words, f"{urls['mnist']}/predict")
    assert json.loads(body)["error"].startswith(sentence), body
    assert told == status


def test_cats_and_dogs_are_asked_by_a_plain_form(urls: dict[str, str], folder: Path) -> None:
    """`-F my_image=@…` returns a page from /submit and JSON from /predict."""
    status, page = _curl(folder, "-F", "my_image=@cat.jpg", f"{urls['cats']}/submit")
    assert status == 200, page
    answer = json.loads(_curl(folder, "-F", "my_image=@cat.jpg", f"{urls['cats']}/predict")[1])
    assert answer["prediction"] in ("Cat", "Dog")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert '<img class="sent' in page
    verdict = re.search(r'<p class="verdict">(.*?)</p>', page, re.DOTALL)
    assert verdict is not None
    assert answer["prediction"] in verdict[1]
    refused, told = _curl(folder, "-F", "my_image=@notes.txt", f"{urls['cats']}/submit")
    assert (refused, "<html" in told, "The image format is not allowed" in told) == (415, True, True)


def test_the_x_ray_page_takes_a_picture(urls: dict[str, str], folder: Path) -> None:
    """The page has an upload form, and the result names the diagnosis with a bar for each class."""
    _, form = _curl(folder, f"{urls['xray']}/")
    field = re.search(r'<input[^>]*type="file"[^>]*>', form)
    assert field is not None
    name = re.search(r'name="(\w+)"', field[0])
    assert name is not None
    assert 'enctype="multipart/form-data"' in form
    status, page = _curl(folder, "-F", f"{name[1]}=@chest.jpeg", f"{urls['xray']}/submit")
    assert status == 200, page
    assert all(label in page for label in _LUNGS)
    body = requests.post(f"{urls['xray']}/predict", files={"file": (folder / "chest.jpeg").read_bytes()}, timeout=60).json()
    assert body["prediction"] in _LUNGS
    assert len(body["probabilities"]) == 3


def _import(file: Path, settings: Settings) -> dict[str, Any]:
    told = ["--name", "mnist", "--preprocess", "01", "--labels", ",".join(_DIGITS), "--home", str(settings.home), "--json"]
    command = [sys.executable, "-m", "relevo", "import", str(file), *told]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=file.parent)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_a_file_under_two_names_is_one_version_called_by_both(folder: Path, tmp_path: Path) -> None:
    """The package does not depend on the file name; a running server learns the second name without a restart."""
    first, second = tmp_path / "clf.onnx", tmp_path / "clf 2.onnx"
    onnx.save(_network(1, 28, 10, "Softmax"), first)
    shutil.copy(first, second)
    settings = settings_of(tmp_path)
    before = _import(first, settings)
    with started(settings) as server:

        def asked(name: str) -> int:
            return _curl(folder, "-F", "file=@digit.png", "-F", f"model={name}", f"{server.url}/predict")[0]

        assert (asked("mnist"), asked("clf.onnx"), asked("clf 2.onnx")) == (200, 200, 404)
        after = _import(second, settings)
        assert until(lambda: asked("clf 2.onnx") == 200, within_s=20)
        assert asked("clf.onnx") == 200
    assert (after["digest"], after["version"]["number"]) == (before["digest"], 1)
