"""The digits example: a pickle comes in, forms are answered in the old shape, random images are drawn and read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from examples.running import EXAMPLES, data_folder, run_example
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("skl2onnx", reason="the example needs relevo[sklearn]")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the documented lines are sent by curl, which is not here")
DIGITS = EXAMPLES / "digits"


@needs_curl
def test_digits_runs_where_mnist_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the digits that come with scikit-learn: nearly as good on the held-out ones, and every answer of its documented shape."""
    monkeypatch.setenv("RELEVO_TEST_DATA", str(tmp_path / "nowhere"))
    outcome = run_example("digits", tmp_path / "work")
    assert outcome.problems == ()
    assert outcome.figures[0].promised == 0.97
    assert outcome.figures[0].reached > 0.95
    assert outcome.asked == 3


@needs_curl
def test_digits_runs_on_a_part_of_mnist(real_data: Path, tmp_path: Path) -> None:
    """On some of the real digits, which the whole run (`make example NAME=digits`) takes all of."""
    assert (real_data / "mnist").is_dir()
    outcome = run_example("digits", tmp_path / "work", limit=6000)
    accuracy = outcome.figures[0].reached
    # Six thousand of seventy are not enough for the promise.
    assert accuracy > 0.9
    assert [problem for problem in outcome.problems if not problem.startswith("accuracy")] == []


def test_random_images_are_held_out_digits_and_the_same_by_seed(tmp_path: Path) -> None:
    """The generator writes as many 28 × 28 grey PNG files as asked, named by the digit; a seed draws them again."""
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "other"]
    for folder, seed in zip(folders, ("3", "3", "4"), strict=True):
        command = [sys.executable, str(DIGITS / "random_images.py"), "--count", "5", "--seed", seed, "--out", str(folder)]
        environ = {"RELEVO_TEST_DATA": str(data_folder()), "PATH": ""}
        subprocess.run(command, check=True, capture_output=True, env=environ, timeout=120)
    one, two, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert len(one) == 5
    assert one == two
    assert one != other
    for path in folders[0].iterdir():
        with Image.open(path) as image:
            assert (image.size, image.mode, image.format) == ((28, 28), "L", "PNG")


def test_a_wrong_count_is_refused(tmp_path: Path) -> None:
    """Nothing is written for a count that cannot be drawn."""
    command = [sys.executable, str(DIGITS / "random_images.py"), "--count", "0", "--out", str(tmp_path / "none")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "--count" in done.stderr
    assert not (tmp_path / "none").exists()
