"""What the console says, in the visitor's language: texts by key, and figures as that language writes them.

    words_of("es")["history.none"]          words("answer.more", count=3)          words.percent(0.984)

The texts are the chapter `console` of `relevo.i18n`: src/relevo/i18n/en/console.json and es/console.json, the same keys in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from relevo.i18n import formatting
from relevo.i18n.catalog import LANGUAGES, NATIVE, known, negotiate_language, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LANGUAGES", "LANGUAGE_COOKIE", "NATIVE", "Texts", "liked", "words_of"]

#: Where a browser keeps the language that was chosen on the console.
LANGUAGE_COOKIE = "lang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """One language; lives as long as the process."""

    language: str
    texts: Mapping[str, str]

    def __getitem__(self, key: str) -> str:
        """The text at this place. Raises KeyError."""
        return self.texts[key]

    def __call__(self, key: str, **facts: object) -> str:
        """The text at this place with its facts said. Raises KeyError."""
        return self.texts[key].format(**facts)

    def percent(self, share: float | None) -> str:
        """A share of one to a tenth of a percent; "–" for none."""
        return "–" if share is None else formatting.percent(share, self.language)

    def number(self, value: float | None, *, digits: int = 4) -> str:
        """A number with so many significant digits; "–" for none."""
        return "–" if value is None else formatting.number(value, self.language, digits=digits)

    def whole(self, value: int | None) -> str:
        """A whole number, its thousands apart; "–" for none."""
        return "–" if value is None else formatting.whole(value, self.language)

    def moment(self, at: datetime | str, zone: str | None = None, *, seconds: bool = False) -> str:
        """A day and a time. at: aware, or as the API writes it. zone: name of the reader's time zone, UTC when unknown."""
        return formatting.moment(_aware(at).astimezone(_zone(zone)), self.language, seconds=seconds)

    def day(self, at: datetime | str, zone: str | None = None) -> str:
        """A day."""
        return formatting.day(_aware(at).astimezone(_zone(zone)), self.language)


def _aware(at: datetime | str) -> datetime:
    return datetime.fromisoformat(at) if isinstance(at, str) else at


@cache
def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (OSError, ValueError, KeyError):
        return ZoneInfo("UTC")


@cache
def words_of(language: str) -> Texts:
    """The words of a language in LANGUAGES."""
    return Texts(language=language, texts=texts("console", language))


def liked(chosen: str | None, accept_language: str | None, default: str) -> str:
    """The language chosen before, else what the browser likes best of ours, else the default."""
    return known(chosen) or negotiate_language(accept_language, default)
