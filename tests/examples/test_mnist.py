"""The digits example, from its data to its last answer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from examples.running import EXAMPLES, run_example
from tests.support.server import QUICK, started

from relevo.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("keras", reason="the extra keras is not installed")


def test_it_answers_as_its_readme_tells(tmp_path: Path) -> None:
    """Trained on 1,800 digits, it is served, asked with the documented curl lines, and answers of the documented form."""
    outcome = run_example("mnist", tmp_path, limit=2100, tell=lambda _: None)
    assert not outcome.problems
    assert outcome.asked == 7
    assert outcome.figures[0].reached > 0.8


@pytest.mark.parametrize(("language", "told"), [("en", "The model is not loaded"), ("es", "El modelo no está cargado")])
def test_a_server_without_a_model_says_so(tmp_path: Path, language: str, told: str) -> None:
    """Before anything is trained the answer is 503 with the code `not_ready`, in the caller's language."""
    with started(Settings(home=tmp_path / "home", **QUICK)) as server:
        files = {"file": ("7.png", b"any", "image/png")}
        answer = httpx.post(f"{server.url}/predict", files=files, headers={"accept-language": language})
    assert answer.status_code == 503
    assert answer.json()["code"] == "not_ready"
    assert told in answer.json()["error"]


def test_ctrl_c_in_the_middle_of_an_epoch_leaves_nothing(tmp_path: Path) -> None:
    """A training of Keras ends at once with exit code 130, without a trace, and nothing of it is registered or left over."""
    project = shutil.copytree(EXAMPLES / "mnist", tmp_path / "mnist")
    told = (project / "train.py").read_text(encoding="utf-8")
    telling = "run.for_keras(), keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: open('fitting', 'w').close())"
    assert "run.for_keras()" in told
    (project / "train.py").write_text(
        told.replace("run.for_keras()", telling).replace("EPOCHS = 5", "EPOCHS = 500"), encoding="utf-8"
    )
    (tmp_path / "tmp").mkdir()
    training = subprocess.Popen(
        [sys.executable, "-m", "relevo", "train"],
        cwd=project,
        env=os.environ | {"EXAMPLE_LIMIT": "700", "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not (project / "fitting").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    training.send_signal(signal.SIGINT)
    _, said = training.communicate(timeout=60)
    assert training.returncode == 130, said
    assert "Traceback" not in said
    kept = {path.relative_to(project / ".relevo").parts[0] for path in (project / ".relevo").rglob("*")}
    assert kept <= {"cache"}  # matplotlib's list of fonts
    assert not [path for path in (tmp_path / "tmp").iterdir() if path.name.startswith("relevo")]
