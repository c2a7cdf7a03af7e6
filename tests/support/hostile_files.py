"""Hostile model files of our own making, and where the strangers' files lie."""

from __future__ import annotations

import os
import pickle
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DATA = Path(os.environ.get("RELEVO_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
MODELS = DATA / "models"


def strangers(*parts: str) -> Path:
    """A stranger's file, or a skip that says why."""
    path = MODELS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} under {MODELS} (set RELEVO_TEST_DATA)")
    return path


class Runs:
    """Pickles to something that runs `code` when it is loaded."""

    def __init__(self, code: str) -> None:
        self.code = textwrap.dedent(code)

    def __reduce__(self) -> tuple[Any, ...]:
        """What unpickling calls."""
        return exec, (self.code,)


class Calls:
    """Pickles to a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        """What unpickling calls."""
        return os.system, (self.command,)


def running(code: str, protocol: int = 4) -> bytes:
    return pickle.dumps(Runs(code), protocol=protocol)


def pairs() -> tuple[Any, Any]:
    """A small honest (DictVectorizer, LogisticRegression)."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    told = [(plan, months) for plan in ("a", "b", "c") for months in range(12)]
    vectorizer = DictVectorizer(sparse=False)
    table = vectorizer.fit_transform([{"plan": plan, "months": float(months)} for plan, months in told])
    answers = np.array([months + (plan == "a") * 3 > 6 for plan, months in told]).astype(int)
    return vectorizer, LogisticRegression().fit(table, answers)
