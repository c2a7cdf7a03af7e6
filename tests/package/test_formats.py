"""One package of each released format number; these files are never regenerated."""

from __future__ import annotations

from pathlib import Path

import pytest

import relevo
from relevo.domain.manifest import FORMAT
from relevo.package.verify import verify

FORMATS = Path(__file__).parent / "formats"
DIGESTS = {
    1: "62102f2a1fd9dd1b2e41968464227a700e830cadde0dc806101d22d326523282",
    2: "86003892902e3ca33a8bbd2270ecde5a4ab2d77d30b2581cc1720a0103f695c7",
}


def test_there_is_a_package_of_every_format() -> None:
    """Every format number has a package here."""
    assert sorted(path.name for path in FORMATS.iterdir()) == [f"format-{number}.zip" for number in range(1, FORMAT + 1)]


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_a_package_of_every_format_still_opens_and_answers(number: int) -> None:
    """It verifies, keeps its digest, and passes its golden tests."""
    path = FORMATS / f"format-{number}.zip"
    assert verify(path).golden > 0
    package = relevo.open(path)
    assert package.digest == DIGESTS[number]
    assert package.predict({"contract": "monthly", "tenure": 3, "charge": 70.5, "senior": True}).predicted_label == "yes"
