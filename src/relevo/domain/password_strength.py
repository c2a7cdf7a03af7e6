"""Whether a password is among the first that somebody tries, who may know the names of its user and of the models.

    password ─ repetitions, years and names, each counted as one letter ─► letters left, too few? ─► easy
    password ─ zxcvbn: lists of leaked passwords, words, rows of keys ─► its score of 0 to 4, too low? ─► easy

The library judges long passwords out of several easy pieces kindly, and knows no Spanish; both are made good here. A password is
asked for seldom, so its lists are loaded when one is set and not before.
Source of the score: Wheeler, "zxcvbn: Low-Budget Password Strength Estimation", USENIX Security 2016.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: So many letters must be left.
MIN_EFFECTIVE_LENGTH = 7
#: 2 of 4 falls to a patient guesser of many accounts.
_LEAST_SCORE = 3
#: What comes after these letters is not looked at; the library takes no more.
_LOOKED_AT = 72
_LEAST_WORD = 3
_TAKEN_OUT = "\x00"
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_EASY_PIECES = (re.compile(r"(.)\1\1+"), re.compile(r"(..+?)\1+"), re.compile(r"(?:19|20)\d\d"))
#: What the library's English lists lack.
_COMMON = (
    "administrador", "bienvenida", "bienvenido", "cambiame", "clave", "contrasena", "futbol", "hola", "invitado", "invierno",
    "modelo", "princesa", "prueba", "relevo", "secreto", "servidor", "teamo", "tequiero", "usuario", "verano",
)  # fmt: skip


def is_guessable(password: str, names: Iterable[str]) -> bool:
    """Whether it would be among the first that somebody tries who knows these names. Takes up to some tenths of a second."""
    known = _words(names)
    if effective_length(password, known) < MIN_EFFECTIVE_LENGTH:
        return True
    from zxcvbn import zxcvbn

    return int(zxcvbn(_plain(password)[:_LOOKED_AT], user_inputs=sorted(known))["score"]) < _LEAST_SCORE


def effective_length(password: str, words: Iterable[str]) -> int:
    """How many letters are left, each piece that anybody tries counted as one; 0 to 72. words: small, without accents."""
    text = _BETWEEN_WORDS.sub("", _plain(password)[:_LOOKED_AT])
    for piece in _EASY_PIECES:
        text = piece.sub(_TAKEN_OUT, text)
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, _TAKEN_OUT)
    return len(text)


def _plain(text: str) -> str:
    """Without accents, all small."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def _words(names: Iterable[str]) -> set[str]:
    """Each name as it is and by its parts, and what is common."""
    plain = [_plain(name) for name in names]
    parts = {part for name in plain for part in (name, *_BETWEEN_WORDS.split(name))}
    return {part for part in parts if len(part) >= _LEAST_WORD} | set(_COMMON)
