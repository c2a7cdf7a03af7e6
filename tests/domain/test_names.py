"""Names: validation, and detection of confusable names."""

from __future__ import annotations

import pytest

from relevo.domain.names import checked_name, name_key
from relevo.errors import FieldTypeError

ALLOWED = [
    "ana",
    "Ana López",
    "Мария",
    "张伟",
    "田中さくら",
    "김민준",
    "Ελένη",
    "أحمد",
    "nightly job 2",
    "o'brien",
    "a@b.example",
    "Zoë",
]
REFUSED = {
    "nothing": "",
    "a blank first": " ana",
    "a blank last": "ana ",
    "too long": "a" * 65,
    "a NUL": "ana\0",
    "a line break": "a\nb",
    "a tab": "a\tb",
    "an escape": "\x1b[31mana",
    "an override of direction": "ana\u202egnp",
    "nothing wide": "an\u200ba",
    "a joiner": "an\u200da",
    "a filler": "an\u3164a",
    "a variation selector": "ana\ufe0f",
    "a lone surrogate": "ana\ud800",
    "one Cyrillic letter": "us\u0435r-a",
    "one Greek letter": "\u03bfliver",
    "Cyrillic and Greek": "\u0430\u03b1",
}


@pytest.mark.parametrize("name", ALLOWED)
def test_names_of_all_the_world_are_taken(name: str) -> None:
    """Names in any script are accepted unchanged."""
    assert checked_name(name) == name


@pytest.mark.parametrize("what", REFUSED)
def test_what_hides_or_pretends_is_refused(what: str) -> None:
    """Rejects names with invisible characters or mixed scripts; the error does not contain the name."""
    with pytest.raises(FieldTypeError) as error:
        checked_name(REFUSED[what], "author")
    assert error.value.field == "author"


@pytest.mark.parametrize(
    "other",
    ["USER-A", "User-a", "\uff55ser-a", "us\u0435r-a", "us\u0435r-\u0430", "user\u2010a".replace("\u2010", "-")],
)
def test_names_that_cannot_be_told_apart_are_one(other: str) -> None:
    """Names that differ in case, width, composition or look-alike letters have the same key."""
    assert name_key(other) == name_key("user-a")


def test_names_that_differ_are_two() -> None:
    """Different names have different keys; composed and decomposed accents are equal."""
    assert len({name_key(name) for name in ALLOWED}) == len(ALLOWED)
    assert name_key("Jose\u0301") == name_key("JOSÉ") != name_key("jose")
    assert name_key("STRASSE") == name_key("straße")
    assert name_key("\ud800x")
