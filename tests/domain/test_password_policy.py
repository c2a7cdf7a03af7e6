"""Password policy: length and guessability of new passwords."""

from __future__ import annotations

import random
import string
import time

import pytest

from relevo.domain.password_policy import MIN_EFFECTIVE_LENGTH, check_password, effective_length, is_guessable
from relevo.errors import WeakPasswordError

NAMES = ["Ana López", "cats-dogs"]


@pytest.mark.parametrize("good", ["correct horse battery", "ñandú más lento", "x7#Lq9vT2mBd", "cuatro ríos y un molino"])
def test_long_passwords_are_accepted(good: str) -> None:
    """Words, spaces and accents are accepted; there are no composition rules."""
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
def test_weak_passwords_are_rejected(bad: str) -> None:
    """Rejects short, long and repetitive passwords and the user's name. The error does not contain the password."""
    with pytest.raises(WeakPasswordError) as refused:
        check_password(bad, "anastasia-maria", ["digits"])
    assert not bad or bad not in str(refused.value)


@pytest.mark.parametrize(
    "easy",
    [
        "password1234",
        "Password2026!",
        "P@ssw0rd!2024",
        "contraseñaxx",
        "Contraseña123",
        "123456789abc",
        "qwertyuiop12",
        "1q2w3e4r5t6y",
        "1qaz2wsx3edc",
        "poiuytrewq987",
        "adminadmin2026",
        "administrator",
        "relevo-relevo-2026",
        "Bienvenido2025",
        "iloveyou1234",
        "teamoteamoteamo",
        "ana.lopez.1985",
        "LopezLopez#1",
        "catsdogs2026!",
        "cats-dogs-cats",
        "xyzxyzxyzxyz",
        "aaaaabbbbbccccc",
        "changeme-changeme",
    ],
)
def test_common_passwords_are_guessable(easy: str) -> None:
    """Common words, names of users and models, keyboard patterns, years and repetitions are guessable, also in leet spelling."""
    assert is_guessable(easy, NAMES)


@pytest.mark.parametrize(
    "good",
    [
        "correct horse battery",
        "ñandú más lento",
        "x7#Lq9vT2mBd",
        "un tren a las ocho",
        "my password is a long sentence",
        "Ana mide 3 codos y medio",
    ],
)
def test_phrases_are_not_guessable(good: str) -> None:
    """A phrase may contain a common word or a name."""
    assert not is_guessable(good, NAMES)


def test_random_passwords_are_long_enough() -> None:
    """No password of twelve random letters and digits is too short, out of a thousand."""
    rng = random.Random(7)  # noqa: S311 - of a test
    letters = string.ascii_letters + string.digits
    assert not [
        text for _ in range(1000) if effective_length(text := "".join(rng.choices(letters, k=12)), NAMES) < MIN_EFFECTIVE_LENGTH
    ]


def test_the_effective_length_is_fast() -> None:
    """Long and repetitive input takes less than a second."""
    before = time.perf_counter()
    for text in ("ab" * 512, "a" * 1024, "abc!" * 256, "\u0344" * 1024):
        effective_length(text, [text, *NAMES])
    assert time.perf_counter() - before < 1


def test_leaked_passwords_are_guessable() -> None:
    """The lists of leaked passwords of zxcvbn apply where the effective length is sufficient."""
    assert effective_length("realmadrid1902x", []) >= MIN_EFFECTIVE_LENGTH
    assert is_guessable("iloveyou1234", [])
