"""What a pickle that cannot be loaded is told to do next."""

from __future__ import annotations

import pickle

import pytest

from relevo.errors import ConversionError
from relevo.importing.sandbox.convert import load

sklearn = pytest.importorskip("sklearn", reason="the extra sklearn loads pickles")


class Raises:
    """A pickle of it raises when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        """Loading it makes a number out of words."""
        return (int, ("no number",))


def told(source: str) -> str:
    with pytest.raises(ConversionError) as refused:
        load(pickle.dumps(Raises()), source)
    return str(refused.value)


def test_the_installed_release_is_not_proposed() -> None:
    """A file of the very release that failed on it is not sent to that release again; one of another is."""
    here = told(f"scikit-learn {sklearn.__version__}")
    assert "--with" not in here
    assert "very release" in here
    assert "--with scikit-learn==0.24.2" in told("scikit-learn 0.24.2")
