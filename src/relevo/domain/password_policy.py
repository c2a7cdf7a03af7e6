"""Password policy: minimum length, no easily guessed password, no composition rules.

    password ─ length, repetition, the user's own name ─ is_guessable? ─► accepted | WeakPasswordError

    is_guessable: repetitions, years and names, each counted as one character ─► effective length below the minimum
                  zxcvbn: lists of leaked passwords, words, keyboard patterns ─► score of 0..4 below the minimum

zxcvbn overrates long passwords made of several easy parts, and knows no Spanish; the first check compensates for both. Its lists are
loaded only when a password is set, which is rare.
Sources: NIST SP 800-63B §3.1.1.2: minimum length, no composition rules, no periodic change; names, repetitions, keyboard patterns
and common passwords are rejected. Wheeler, "zxcvbn: Low-Budget Password Strength Estimation", USENIX Security 2016.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from relevo.errors import WeakPasswordError

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_LENGTH = 12
#: Maximum bytes of a password: longer ones are no safer, and cost time to hash.
MOST_BYTES = 1024
MIN_EFFECTIVE_LENGTH = 7
_MIN_DISTINCT = 5
#: Surrogates, which stand for invalid UTF-8; they cannot be typed at login.
_SURROGATES = re.compile("[\ud800-\udfff]")
#: zxcvbn score; 2 of 4 falls to a patient attack on many accounts.
_MIN_SCORE = 3
#: Later characters are ignored: zxcvbn takes no more.
_MAX_EVALUATED = 72
_MIN_WORD_LENGTH = 3
_PLACEHOLDER = "\x00"
_SEPARATORS = re.compile(r"[\W_]+")
_EASY_PATTERNS = (re.compile(r"(.)\1\1+"), re.compile(r"(..+?)\1+"), re.compile(r"(?:19|20)\d\d"))
#: Common Spanish words, which are missing in zxcvbn's lists.
_COMMON_WORDS = (
    "administrador", "bienvenida", "bienvenido", "cambiame", "clave", "contrasena", "futbol", "hola", "invitado", "invierno",
    "modelo", "princesa", "prueba", "relevo", "secreto", "servidor", "teamo", "tequiero", "usuario", "verano",
)  # fmt: skip


def check_password(password: str, name: str, others: Iterable[str] = ()) -> None:
    """Validates a new password. Takes up to some tenths of a second, so it must not run on an event loop.

    name: of its user. others: names that an attacker may know, such as those of models.
    Raises WeakPasswordError, which does not contain the password.
    """
    if _SURROGATES.search(password):
        raise WeakPasswordError(reason="it is not UTF-8")
    if len(password) < MIN_LENGTH:
        raise WeakPasswordError(reason=f"it needs at least {MIN_LENGTH} characters")
    if len(password.encode()) > MOST_BYTES:
        raise WeakPasswordError(reason=f"it may have at most {MOST_BYTES} bytes")
    if len(set(password)) < _MIN_DISTINCT:
        raise WeakPasswordError(reason="it repeats too few characters")
    if name and password.casefold() in {name.casefold(), name.casefold() * 2, name.casefold()[::-1]}:
        raise WeakPasswordError(reason="it is the name of its user")
    if is_guessable(password, [name, *others]):
        raise WeakPasswordError(
            reason="it is easy to guess: names, common words, rows of keys, years and repetitions count for little"
        )


def is_guessable(password: str, names: Iterable[str]) -> bool:
    """Whether an attacker who knows these names would guess it early. Takes up to some tenths of a second."""
    words = _easy_words(names)
    if effective_length(password, words) < MIN_EFFECTIVE_LENGTH:
        return True
    from zxcvbn import zxcvbn

    return int(zxcvbn(_normalized(password)[:_MAX_EVALUATED], user_inputs=sorted(words))["score"]) < _MIN_SCORE


def effective_length(password: str, words: Iterable[str]) -> int:
    """Number of characters, 0..72, each easy part counted as one. words: lower case, without accents."""
    text = _SEPARATORS.sub("", _normalized(password)[:_MAX_EVALUATED])
    for pattern in _EASY_PATTERNS:
        text = pattern.sub(_PLACEHOLDER, text)
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, _PLACEHOLDER)
    return len(text)


def _normalized(text: str) -> str:
    """Lower case, without accents."""
    characters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in characters if not unicodedata.combining(character))


def _easy_words(names: Iterable[str]) -> set[str]:
    """The names, their parts, and common words."""
    normalized = [_normalized(name) for name in names]
    parts = {part for name in normalized for part in (name, *_SEPARATORS.split(name))}
    return {part for part in parts if len(part) >= _MIN_WORD_LENGTH} | set(_COMMON_WORDS)
