"""The texts of the console, compared with the keys in its source."""

from __future__ import annotations

import re
from pathlib import Path

from relevo.console.texts import LANGUAGES, choose_language, load_texts

SOURCE = Path(__file__).parents[2] / "src" / "relevo" / "console"
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py")))
#: Literals that look like keys, and prefixes of keys in f-strings.
LITERALS = set(re.findall(r"[\"']([a-z_]+\.[a-z_.]+)[\"']", TEXT))
PREFIXES = set(re.findall(r'f["\']([a-z_]+\.(?:[a-z_.]+\.)?)\{', TEXT))


def test_every_text_is_used() -> None:
    """The catalogue contains no unused text."""
    unused = [key for key in load_texts("en").by_key if key not in LITERALS and not key.startswith(tuple(PREFIXES))]
    assert unused == []


def test_every_used_key_exists() -> None:
    """The catalogue contains every key of `texts["…"]`."""
    used = set(re.findall(r"(?:load_)?texts(?:\([^)]*\))?[\[(][\"']([a-z_]+\.[a-z_.]+)[\"']", TEXT))
    assert len(used) > 50
    assert used - load_texts("en").by_key.keys() == set()


def test_numbers_and_times_are_localized() -> None:
    """Spanish has a decimal comma and a space before the percent sign; times are in the time zone of the reader."""
    assert (load_texts("es").percent(0.9846), load_texts("en").percent(0.9846)) == ("98,5\xa0%", "98.5%")
    assert load_texts("en").moment("2026-01-31T12:00:00Z", "Europe/Madrid") == "31 Jan 2026, 13:00 CET"
    assert load_texts("es").moment("2026-01-31T12:00:00Z", "no/such/zone") == "31 ene 2026, 12:00 UTC"
    assert load_texts("es").percent(None) == load_texts("es").number(None) == load_texts("es").integer(None) == "–"


def test_order_of_language_sources() -> None:
    """First the selected language, then that of the browser, then the default."""
    assert choose_language("es", "en-GB,en;q=0.9", "en") == "es"
    assert choose_language(None, "fr,es;q=0.5", "en") == "es"
    assert choose_language("xx", None, "es") == "es"
    assert set(LANGUAGES) == {"en", "es"}
