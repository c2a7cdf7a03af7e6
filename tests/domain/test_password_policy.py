"""What a new password must be."""

from __future__ import annotations

import pytest

from relevo.domain.password_policy import check_password
from relevo.errors import WeakPasswordError


@pytest.mark.parametrize("good", ["correct horse battery", "ñandú más lento", "x7#Lq9vT2mBd", "cuatro ríos y un molino"])
def test_length_is_what_counts(good: str) -> None:
    """Words, blanks and accents are welcome; no signs of certain kinds are asked for."""
    check_password(good, "ana", ["digits"])


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "elevenchars",
        "aaaaaaaaaaaaaaaa",
        "abababababab",
        "anastasia-maria",
        "ANASTASIA-MARIA",
        "maria-digits-2026",
        "x1y2z" * 205,
    ],
)
def test_what_anybody_would_try_is_refused(bad: str) -> None:
    """Too short, a few signs over and over, one's own name; and more than is ever hashed. The refusal does not repeat it."""
    with pytest.raises(WeakPasswordError) as refused:
        check_password(bad, "anastasia-maria", ["digits"])
    assert not bad or bad not in str(refused.value)
