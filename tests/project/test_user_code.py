"""What the user's own code may do to a training: fail, lack a library, swallow Ctrl-C."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from relevo.errors import ConfigError, MissingDependencyError, TrainingError
from relevo.project.user_code import users_code

if TYPE_CHECKING:
    from pathlib import Path


def run_file(folder: Path, text: str) -> None:
    """Run a file of the project as training does."""
    path = folder / "train.py"
    path.write_text(text, encoding="utf-8")
    exec(compile(text, str(path), "exec"), {})  # noqa: S102 - it stands for the user's own code


def test_a_failure_is_told_with_the_users_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kind, words, file and line come in one sentence, and the trace begins at the user's file, not in Relevo's."""
    with pytest.raises(TrainingError, match=r"ValueError: too few cats \(train\.py, line 4\)"), users_code(tmp_path):
        run_file(tmp_path, "def deep():\n    return int\n\nraise ValueError('too few cats')\n")
    trace = capsys.readouterr().err
    assert trace.startswith(f'  File "{tmp_path}/train.py"')
    assert "running.py" not in trace


def test_a_library_of_an_extra_is_named_as_such(tmp_path: Path) -> None:
    """Without scikit-learn a person is told which extra to install; of any other library its own words are kept."""
    with pytest.raises(MissingDependencyError, match=r"relevo\[sklearn\]"), users_code(tmp_path):
        raise ModuleNotFoundError(name="sklearn.neural_network")
    with pytest.raises(TrainingError, match="No module named 'nowhere_at_all'"), users_code(tmp_path):
        run_file(tmp_path, "import nowhere_at_all\n")


def test_our_own_refusals_stay_what_they_are(tmp_path: Path) -> None:
    """A sentence of Relevo's is not wrapped in another."""
    with pytest.raises(ConfigError), users_code(tmp_path):
        raise ConfigError(reason="said below")


def test_an_interrupt_ends_the_training_even_when_swallowed(tmp_path: Path) -> None:
    """A framework that takes Ctrl-C for "stop fitting" gives back a half-trained model; it must not be packed."""
    went_on = []

    def fit() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            went_on.append("half a model")

    with pytest.raises(KeyboardInterrupt), users_code(tmp_path):
        fit()
    assert went_on
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
