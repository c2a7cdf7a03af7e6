"""Failures of the user's code: exceptions, missing libraries, a swallowed Ctrl-C."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from relevo.errors import ConfigError, MissingDependencyError, TrainingError
from relevo.project.user_code import run_user_code

if TYPE_CHECKING:
    from pathlib import Path


def run_file(folder: Path, text: str) -> None:
    """Run a file of the project like a training does."""
    path = folder / "train.py"
    path.write_text(text, encoding="utf-8")
    exec(compile(text, str(path), "exec"), {})  # noqa: S102 - represents the user's code


def test_exception_is_reported_with_the_users_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error has type, message, file and line, and the traceback begins at the user's file, not in Relevo's."""
    with pytest.raises(TrainingError, match=r"ValueError: too few cats \(train\.py, line 4\)"), run_user_code(tmp_path):
        run_file(tmp_path, "def deep():\n    return int\n\nraise ValueError('too few cats')\n")
    trace = capsys.readouterr().err
    assert trace.startswith(f'  File "{tmp_path}/train.py"')
    assert "user_code.py" not in trace


def test_missing_library_names_its_extra(tmp_path: Path) -> None:
    """A missing scikit-learn names the extra to install; another missing library keeps Python's message."""
    with pytest.raises(MissingDependencyError, match=r"relevo\[sklearn\]"), run_user_code(tmp_path):
        raise ModuleNotFoundError(name="sklearn.neural_network")
    with pytest.raises(TrainingError, match="No module named 'nowhere_at_all'"), run_user_code(tmp_path):
        run_file(tmp_path, "import nowhere_at_all\n")


def test_relevo_errors_are_not_wrapped(tmp_path: Path) -> None:
    """An error of Relevo is not wrapped in another."""
    with pytest.raises(ConfigError), run_user_code(tmp_path):
        raise ConfigError(reason="said below")


def test_an_interrupt_ends_the_training_even_when_swallowed(tmp_path: Path) -> None:
    """A framework that handles Ctrl-C as "stop fitting" returns a half-trained model, which must not be packed."""
    swallowed = []

    def fit() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            swallowed.append("half a model")

    with pytest.raises(KeyboardInterrupt), run_user_code(tmp_path):
        fit()
    assert swallowed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
