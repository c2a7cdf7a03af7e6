"""Suggestions for pickles that cannot be loaded."""

from __future__ import annotations

import pickle

import pytest

from relevo.errors import ConversionError
from relevo.importing.sandbox.convert import load_pickle

sklearn = pytest.importorskip("sklearn", reason="the extra sklearn loads pickles")


class Raises:
    """Unpickling raises ValueError."""

    def __reduce__(self) -> tuple[object, ...]:
        """Unpickling converts a text to a number."""
        return (int, ("no number",))


def load_error(source: str) -> str:
    with pytest.raises(ConversionError) as caught:
        load_pickle(pickle.dumps(Raises()), source)
    return str(caught.value)


def test_the_installed_release_is_not_proposed() -> None:
    """The installed release is not suggested for a file that it wrote and cannot load; for another release it is."""
    message = load_error(f"scikit-learn {sklearn.__version__}")
    assert "--with" not in message
    assert "very release" in message
    assert "--with scikit-learn==0.24.2" in load_error("scikit-learn 0.24.2")
