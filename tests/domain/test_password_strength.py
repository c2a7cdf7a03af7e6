"""What everybody tries first is refused; what somebody thought of is not."""

from __future__ import annotations

import random
import string
import time

import pytest

from relevo.domain.password_strength import MIN_EFFECTIVE_LENGTH, effective_length, is_guessable

NAMES = ["Ana López", "cats-dogs"]


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
def test_what_is_tried_first_is_easy(easy: str) -> None:
    """Common words, names of the user and of models, rows of keys, years and repetitions, also spelt with digits and signs."""
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
def test_what_somebody_thought_of_is_not(good: str) -> None:
    """A sentence may well hold a common word or a name."""
    assert not is_guessable(good, NAMES)


def test_what_was_drawn_is_never_easy() -> None:
    """Of a thousand passwords of twelve random letters and digits none is refused."""
    draw = random.Random(7)  # noqa: S311 - of a test
    letters = string.ascii_letters + string.digits
    assert not [
        text for _ in range(1000) if effective_length(text := "".join(draw.choices(letters, k=12)), NAMES) < MIN_EFFECTIVE_LENGTH
    ]


def test_the_longest_is_looked_at_in_a_moment() -> None:
    """Whatever is sent takes no time to speak of."""
    before = time.perf_counter()
    for text in ("ab" * 512, "a" * 1024, "abc!" * 256, "\u0344" * 1024):
        effective_length(text, [text, *NAMES])
    assert time.perf_counter() - before < 1


def test_the_library_s_lists_count() -> None:
    """What no rule of ours names is easy all the same, once it was leaked often enough."""
    assert effective_length("realmadrid1902x", []) >= MIN_EFFECTIVE_LENGTH
    assert is_guessable("iloveyou1234", [])
