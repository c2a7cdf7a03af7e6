"""What a password must be: long, and not what anybody would try first. Length is asked for, signs of certain kinds are not.

Source: NIST SP 800-63B §3.1.1.2: a least length, no rules of composition, no yearly change; names, repetitions, rows of keys and
what is commonly used are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relevo.domain.password_strength import is_guessable
from relevo.errors import WeakPasswordError

if TYPE_CHECKING:
    from collections.abc import Iterable

LEAST_LETTERS = 12
#: Longer ones are no safer, and somebody must hash them.
MOST_BYTES = 1024
_LEAST_DIFFERENT = 5
#: What a pipe's bytes become that are no letters; nobody could type them when they sign in.
_HALF = re.compile("[\ud800-\udfff]")


def check_password(password: str, name: str, others: Iterable[str] = ()) -> None:
    """Hold a new password against the rules. Takes a moment, so no event loop may call it.

    name: of its user. others: names that somebody who guesses knows, too, as those of models.
    Raises WeakPasswordError, which does not repeat it.
    """
    if _HALF.search(password):
        raise WeakPasswordError(reason="it is not UTF-8")
    if len(password) < LEAST_LETTERS:
        raise WeakPasswordError(reason=f"it needs at least {LEAST_LETTERS} characters")
    if len(password.encode()) > MOST_BYTES:
        raise WeakPasswordError(reason=f"it may have at most {MOST_BYTES} bytes")
    if len(set(password)) < _LEAST_DIFFERENT:
        raise WeakPasswordError(reason="it repeats too few characters")
    if name and password.casefold() in {name.casefold(), name.casefold() * 2, name.casefold()[::-1]}:
        raise WeakPasswordError(reason="it is the name of its user")
    if is_guessable(password, [name, *others]):
        raise WeakPasswordError(
            reason="it is easy to guess: names, common words, rows of keys, years and repetitions count for little"
        )
