"""Hostile model files for tests, and the folder of real models."""

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


def real_model(*parts: str) -> Path:
    """Return a file of the real models, or skip the test with the reason."""
    path = MODELS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} under {MODELS} (set RELEVO_TEST_DATA)")
    return path


class Runs:
    """Runs `code` when it is unpickled."""

    def __init__(self, code: str) -> None:
        self.code = textwrap.dedent(code)

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle what to call."""
        return exec, (self.code,)


class Calls:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle what to call."""
        return os.system, (self.command,)


def pickle_running(code: str, protocol: int = 4) -> bytes:
    return pickle.dumps(Runs(code), protocol=protocol)


def vectorizer_and_model() -> tuple[Any, Any]:
    """Return a small, harmless (DictVectorizer, LogisticRegression)."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    rows = [(plan, months) for plan in ("a", "b", "c") for months in range(12)]
    vectorizer = DictVectorizer(sparse=False)
    features = vectorizer.fit_transform([{"plan": plan, "months": float(months)} for plan, months in rows])
    truth = np.array([months + (plan == "a") * 3 > 6 for plan, months in rows]).astype(int)
    return vectorizer, LogisticRegression().fit(features, truth)
