"""Incomplete UBJSON files are detected without the library."""

from __future__ import annotations

import numpy as np
import pytest

from relevo.converters.boosting.ubjson_check import require_whole_ubjson
from relevo.errors import ConversionError

xgb = pytest.importorskip("xgboost")


@pytest.fixture(scope="module")
def saved() -> bytes:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(60, 3))
    model = xgb.XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(rows, rows[:, 0] > 0)
    return bytes(model.get_booster().save_raw("ubj"))


def test_files_of_the_library_pass(saved: bytes) -> None:
    """A file of the current library passes."""
    require_whole_ubjson(saved)


def test_truncated_files_are_rejected(saved: bytes) -> None:
    """Every truncated file is rejected, and every file with trailing bytes."""
    for cut in range(len(saved)):
        with pytest.raises(ConversionError):
            require_whole_ubjson(saved[:cut])
    with pytest.raises(ConversionError, match="behind its end"):
        require_whole_ubjson(saved + b"}")


@pytest.mark.parametrize(
    "torn",
    [
        b"",
        b"[",
        b"{i\x01a?}",
        b"{L\xff\xff\xff\xff\xff\xff\xff\xffa}",
        b"{i\x01a[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff}",
        b"{i\x01a[#L\x7f\xff\xff\xff\xff\xff\xff\xffZ}",
        b"{i\x01a[$S#i\x01}",
        b"{" + b"i\x01a{" * 100 + b"}" * 101,
    ],
    ids=["empty", "array", "mark", "negative", "huge", "many", "texts", "deep"],
)
def test_hostile_lengths_are_rejected(torn: bytes) -> None:
    """Negative, enormous and missing lengths, unknown markers and endless nesting are rejected."""
    with pytest.raises(ConversionError):
        require_whole_ubjson(torn)
