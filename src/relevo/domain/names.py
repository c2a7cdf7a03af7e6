"""Validates and normalizes names of users and objects, and detects confusable names.

text ─ NFKC, single spaces ─ visible letters of one script ─► checked_name: the stored name
text ─ checked_name, no reserved word, neither ':' nor '/' ─► checked_user_name
name ─ NFKC, case folded, letters of other scripts that look like Latin ones replaced ─► name_key: equal for confusable names

`User-A` and `user-a` have the same key, and so has the name with a Cyrillic letter. A name that mixes scripts is rejected.
"""

from __future__ import annotations

import re
import unicodedata

from relevo.errors import FieldTypeError

MAX_LENGTH = 64
EXPECTED = "1 to 64 characters that can be seen, letters of one script, no blank first or last"
EXPECTED_OF_USER = "a name without ':' and '/', other than nobody, system, '.' and '..'"
_RESERVED = frozenset({"nobody", "system", ".", ".."})
#: Invisible characters that Unicode does not classify as such: fillers and variation selectors.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
#: Allowed combinations of scripts (Unicode Technical Standard 39, highly restrictive).
_SCRIPT_SETS = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)
#: Case-folded Cyrillic and Greek letters that look like a Latin one in lower or upper case → that letter.
_CONFUSABLES = str.maketrans(
    "абвгеёзікмнорстухцѕјһԁԛԝүαβγεζηικμνορτυχω",
    "a6bree3ikmhopctyxusjhdqwyabyeznikuvoptuxw",
)


def checked_name(name: str, field: str = "name") -> str:
    """The name in its stored form. Raises FieldTypeError, which names the field and the rule."""
    plain = " ".join(unicodedata.normalize("NFKC", name).split(" "))
    visible = plain.isprintable() and plain == plain.strip() and _INVISIBLE.search(plain) is None
    if not (0 < len(plain) <= MAX_LENGTH and visible and _is_of_one_script(plain)):
        raise FieldTypeError(field=field, expected=EXPECTED, got="another name")
    return plain


def checked_user_name(name: str) -> str:
    """The name of a user in its stored form. Raises FieldTypeError, also for names that are ambiguous in audit entries or URLs."""
    checked = checked_name(name)
    if name_key(checked) in _RESERVED or any(character in checked for character in ":/"):
        raise FieldTypeError(field="name", expected=EXPECTED_OF_USER, got="another name")
    return checked


def name_key(name: str) -> str:
    """The comparison key, equal for confusable names. Also defined for a text that is no valid name."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return folded.encode("utf-8", "replace").decode().translate(_CONFUSABLES)


def _is_of_one_script(name: str) -> bool:
    scripts = {_script(letter) for letter in name if letter.isalpha()}
    return len(scripts) <= 1 or any(scripts <= allowed for allowed in _SCRIPT_SETS)


def _script(letter: str) -> str:
    """The script of a letter: the first word of its Unicode name, as in CYRILLIC SMALL LETTER A."""
    return unicodedata.name(letter, "?").partition(" ")[0]
