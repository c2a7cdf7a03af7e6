"""What people and things may be called, and when two names are one: what cannot be told apart by looking must not be two.

text ─ NFKC, one blank where there were several ─ visible letters of one script ─► checked_name: the name as it is kept
text ─ checked_name, no reserved word, neither ':' nor '/' ─► checked_user_name
name ─ NFKC, case folded, letters of other scripts that look like Latin ones as those ─► name_key: equal for equal names

`User-A` and `user-a` are one name, and so is one with a Cyrillic letter; a name that mixes scripts is refused before that.
"""

from __future__ import annotations

import re
import unicodedata

from relevo.errors import FieldTypeError

MOST_LETTERS = 64
EXPECTED = "1 to 64 characters that can be seen, letters of one script, no blank first or last"
EXPECTED_OF_USER = "a name without ':' and '/', other than nobody, system, '.' and '..'"
_RESERVED = frozenset({"nobody", "system", ".", ".."})
#: Letters and marks that show nothing, although Unicode does not call them so: fillers and variation selectors.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
#: Scripts that are written together (Unicode Technical Standard 39, highly restrictive); any of them with Latin.
_TOGETHER = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)
#: Folded letters of Cyrillic and Greek that look like a Latin one in lower or upper case, and that one.
_ALIKE = str.maketrans(
    "абвгеёзікмнорстухцѕјһԁԛԝүαβγεζηικμνορτυχω",
    "a6bree3ikmhopctyxusjhdqwyabyeznikuvoptuxw",
)


def checked_name(name: str, field: str = "name") -> str:
    """The name as it is kept. Raises FieldTypeError, which names the field and says what a name is."""
    plain = " ".join(unicodedata.normalize("NFKC", name).split(" "))
    seen = plain.isprintable() and plain == plain.strip() and _UNSEEN.search(plain) is None
    if not (0 < len(plain) <= MOST_LETTERS and seen and _is_of_one_script(plain)):
        raise FieldTypeError(field=field, expected=EXPECTED, got="another name")
    return plain


def checked_user_name(name: str) -> str:
    """The name of a user as it is kept; what entries or addresses could take for something else is none. Raises FieldTypeError."""
    written = checked_name(name)
    if name_key(written) in _RESERVED or any(sign in written for sign in ":/"):
        raise FieldTypeError(field="name", expected=EXPECTED_OF_USER, got="another name")
    return written


def name_key(name: str) -> str:
    """What is the same for all names that are one. A text that is no name has one, too."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return folded.encode("utf-8", "replace").decode().translate(_ALIKE)


def _is_of_one_script(name: str) -> bool:
    scripts = {_script(letter) for letter in name if letter.isalpha()}
    return len(scripts) <= 1 or any(scripts <= some for some in _TOGETHER)


def _script(letter: str) -> str:
    """The first word of a letter's name, which is its script's: LATIN SMALL LETTER A, CYRILLIC SMALL LETTER A."""
    return unicodedata.name(letter, "?").partition(" ")[0]
