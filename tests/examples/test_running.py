"""The runner reports failed commands, interrupts during a training, and unknown names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from examples.run import show
from examples.running import ExampleError, run_example

from examples import running

ROOT = Path(__file__).parent.parent.parent
_CHECK = "DATA = 'nothing'\ndef figures(metrics): return []\ndef check(served): return []\n"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of examples with one that does nothing yet."""
    folder = tmp_path / "examples" / "one"
    folder.mkdir(parents=True)
    (folder / "check.py").write_text(_CHECK, encoding="utf-8")
    (folder / "relevo.toml").write_text('[model]\nname = "one"\n[data]\npath = "data.py"\n', encoding="utf-8")
    monkeypatch.setattr(running, "EXAMPLES", folder.parent)
    return folder


def test_a_command_that_fails_ends_the_run(example: Path, tmp_path: Path) -> None:
    """Nothing after it is run, and the line and its exit code are named."""
    (example / "README.md").write_text("```sh\nexit 3\ntouch later\nrelevo serve\n```\n", encoding="utf-8")
    with pytest.raises(ExampleError, match=r"exit 3\nended with 3"):
        run_example("one", tmp_path / "work", tell=lambda _: None)
    assert not (tmp_path / "work" / "one" / "later").exists()


def test_the_source_stays_as_it_is(example: Path, tmp_path: Path) -> None:
    """Commands run in a copy: what they write does not land among the sources, and old work is gone."""
    (example / "README.md").write_text("```sh\ntouch made\nexit 1\nrelevo serve\n```\n", encoding="utf-8")
    (tmp_path / "work" / "one").mkdir(parents=True)
    (tmp_path / "work" / "one" / "old").touch()
    (tmp_path / "work" / "one" / "relevo.toml").touch()
    (tmp_path / "work" / "others").touch()
    with pytest.raises(ExampleError):
        run_example("one", tmp_path / "work", tell=lambda _: None)
    assert (tmp_path / "work" / "one" / "made").exists()
    assert not (tmp_path / "work" / "one" / "old").exists()
    assert (tmp_path / "work" / "others").exists()
    assert not (example / "made").exists()


def test_a_folder_of_somebody_else_is_left_alone(example: Path, tmp_path: Path) -> None:
    """What is no earlier run is not emptied: the run stops and says so."""
    (example / "README.md").write_text("```sh\nrelevo serve\n```\n", encoding="utf-8")
    (tmp_path / "work" / "one").mkdir(parents=True)
    (tmp_path / "work" / "one" / "thesis.tex").touch()
    with pytest.raises(ExampleError, match="choose another"):
        run_example("one", tmp_path / "work", tell=lambda _: None)
    assert (tmp_path / "work" / "one" / "thesis.tex").exists()


def test_an_interrupt_ends_training_and_run(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a training: the run ends with 130, and no process of it is left."""
    command = [sys.executable, "-m", "examples.run", "churn", "--work", str(tmp_path / "work")]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdout is not None
    while "relevo train" not in run.stdout.readline():
        assert run.poll() is None
    time.sleep(1.0)
    # As a terminal does it: to all processes in front.
    os.killpg(run.pid, signal.SIGINT)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 130, told
    assert "interrupted" in told
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)


def test_an_unknown_name_lists_the_known_ones() -> None:
    """A misspelt example name gives the list of examples."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.run", "chrun"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "churn" in done.stderr
    assert "digits" in done.stderr


def test_the_outcome_can_be_read_by_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints what came of it, with the training's cost, and nothing else on standard output."""
    outcome = running.Outcome(
        name="one",
        data="real",
        training=running.Cost(seconds=1.5, cpu_seconds=2.0, peak_mib=100.0),
        figures=(),
        asked=1,
        problems=("it is wrong",),
    )
    show(outcome, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["training"] == {"seconds": 1.5, "cpu_seconds": 2.0, "peak_mib": 100.0}
    assert told["problems"] == ["it is wrong"]
