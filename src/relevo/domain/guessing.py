"""How much of a password is left to guess, once what everybody tries first is taken out of it.

password ─ repetitions ─ rows of keys and letters ─ years ─ names and common words, also spelt with digits ─► letters left
         └ with zxcvbn installed: its estimate, from lists of leaked passwords

Each piece taken out counts as one letter. A password is asked for seldom, so nothing here is loaded before one is set.
Source of the estimate: Wheeler, "zxcvbn: Low-Budget Password Strength Estimation", USENIX Security 2016.
"""

from __future__ import annotations

import re
import unicodedata
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: So many letters must be left.
LEAST_LEFT = 7
#: And so many guesses be needed, where somebody counts them: 2 of 4 falls to a patient guesser of many accounts.
_LEAST_SCORE = 3
#: What comes after these letters is not looked at; the estimate takes no more.
_LOOKED_AT = 72
_LEAST_ROW = 3
_LEAST_WORD = 3
_TAKEN_OUT = "\x00"
_SPELT = str.maketrans("013457@$!", "oieastasi")
_YEAR = re.compile(r"(?:19|20)\d\d")
_AGAIN = (re.compile(r"(.)\1\1+"), re.compile(r"(..+?)\1+"))
_KEYS = (
    "01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm",
    "1q2w3e4r5t6y7u8i9o0p", "1qaz2wsx3edc4rfv5tgb6yhn7ujm", "qazwsxedcrfvtgbyhnujm", "!@#$%^&*()",
)  # fmt: skip
_ROWS = (*_KEYS, *(row[::-1] for row in _KEYS))
#: The heads of published lists of leaked passwords in both languages, and what this program is about.
_COMMON = (
    "password", "passwort", "contrasena", "clave", "secret", "secreto", "admin", "administrator", "administrador", "root", "user",
    "usuario", "login", "welcome", "bienvenido", "bienvenida", "letmein", "changeme", "cambiame", "default", "test", "prueba",
    "demo", "guest", "invitado", "iloveyou", "teamo", "tequiero", "hello", "hola", "monkey", "dragon", "master", "sunshine",
    "princess", "princesa", "football", "futbol", "superman", "batman", "pokemon", "computer", "internet", "server", "servidor",
    "model", "modelo", "summer", "winter", "verano", "invierno", "relevo",
)  # fmt: skip


def is_easy(password: str, names: Iterable[str]) -> bool:
    """Whether it would be among the first that somebody tries who knows these names."""
    known = [name for name in names if name]
    if left_to_guess(password, known) < LEAST_LEFT:
        return True
    if find_spec("zxcvbn") is None:
        return False
    estimate = import_module("zxcvbn").zxcvbn(password[:_LOOKED_AT], user_inputs=[*_words(known), "relevo"])
    return int(estimate["score"]) < _LEAST_SCORE


def left_to_guess(password: str, names: Iterable[str]) -> int:
    """How many letters are left, each piece that anybody tries counted as one; 0 to 72."""
    text = _plain(password)[:_LOOKED_AT]
    for again in _AGAIN:
        text = again.sub(rf"\1{_TAKEN_OUT}", text)
    text = _YEAR.sub(_TAKEN_OUT, _without_rows(text)).translate(_SPELT)
    words = {word.translate(_SPELT) for word in (*_COMMON, *_words(names))}
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, _TAKEN_OUT)
    return len(text)


def _plain(text: str) -> str:
    """Without accents, all small."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def _words(names: Iterable[str]) -> set[str]:
    """Each name as it is and by its parts."""
    plain = [_plain(name) for name in names]
    parts = {part for name in plain for part in (name, *re.split(r"[\W_]+", name))}
    return {part for part in parts if len(part) >= _LEAST_WORD}


def _without_rows(text: str) -> str:
    left, start = [], 0
    while start < len(text):
        end = start + _LEAST_ROW
        while end <= len(text) and any(text[start:end] in row for row in _ROWS):
            end += 1
        found = end - 1 - start >= _LEAST_ROW
        left.append(_TAKEN_OUT if found else text[start])
        start = end - 1 if found else start + 1
    return "".join(left)
