"""What a new password must be."""

from __future__ import annotations

import pytest

from relevo.domain.passwords import check_password
from relevo.errors import PasswordRefused


@pytest.mark.parametrize("good", ["correct horse battery", "contraseña", "ñandú más lento", "123456789abc"])
def test_length_is_what_counts(good: str) -> None:
    """Words, blanks and accents are welcome; no signs of certain kinds are asked for."""
    check_password(good.ljust(12, "x"), "ana")


@pytest.mark.parametrize(
    "bad", ["", "elevenchars", "aaaaaaaaaaaaaaaa", "abababababab", "anastasia-maria", "ANASTASIA-MARIA", "x1y2z" * 205]
)
def test_what_anybody_would_try_is_refused(bad: str) -> None:
    """Too short, a few signs over and over, one's own name; and more than is ever hashed. The refusal does not repeat it."""
    with pytest.raises(PasswordRefused) as refused:
        check_password(bad, "anastasia-maria")
    assert not bad or bad not in str(refused.value)
