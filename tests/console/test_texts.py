"""The console's texts, held against the source that says them."""

from __future__ import annotations

import re
from pathlib import Path

from relevo.console.texts import LANGUAGES, choose_language, load_texts

SOURCE = Path(__file__).parents[2] / "src" / "relevo" / "console"
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py")))
#: A literal that looks like a key, and the beginning of one that is put together.
WHOLE = set(re.findall(r"[\"']([a-z_]+\.[a-z_.]+)[\"']", TEXT))
BEGUN = set(re.findall(r'f["\']([a-z_]+\.(?:[a-z_.]+\.)?)\{', TEXT))


def test_every_text_is_said_somewhere() -> None:
    """A text that no page says is taken out of the catalogue."""
    unsaid = [key for key in load_texts("en").by_key if key not in WHOLE and not key.startswith(tuple(BEGUN))]
    assert unsaid == []


def test_every_key_that_is_asked_for_exists() -> None:
    """What a page asks for by `texts["…"]` stands in the catalogue."""
    asked = set(re.findall(r"words(?:_of\([^)]*\))?[\[(][\"']([a-z_]+\.[a-z_.]+)[\"']", TEXT))
    assert len(asked) > 50
    assert asked - load_texts("en").by_key.keys() == set()


def test_figures_and_moments_are_written_as_the_language_does() -> None:
    """Spanish has a comma and a space before the sign; a moment is told in the reader's own time zone."""
    assert (load_texts("es").percent(0.9846), load_texts("en").percent(0.9846)) == ("98,5\xa0%", "98.5%")
    assert load_texts("en").moment("2026-01-31T12:00:00Z", "Europe/Madrid") == "31 Jan 2026, 13:00 CET"
    assert load_texts("es").moment("2026-01-31T12:00:00Z", "no/such/zone") == "31 ene 2026, 12:00 UTC"
    assert load_texts("es").percent(None) == load_texts("es").number(None) == load_texts("es").whole(None) == "–"


def test_a_chosen_language_counts_more_than_the_browsers() -> None:
    """First what was chosen, then what the browser likes, then the console's own."""
    assert choose_language("es", "en-GB,en;q=0.9", "en") == "es"
    assert choose_language(None, "fr,es;q=0.5", "en") == "es"
    assert choose_language("xx", None, "es") == "es"
    assert set(LANGUAGES) == {"en", "es"}
