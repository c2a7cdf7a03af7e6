"""Translated texts of the console by key, and numbers and dates in the format of the language.

    load_texts("es")["history.none"]          texts("answer.more", count=3)          texts.percent(0.984)

The texts are the chapter `console` of `relevo.i18n`: src/relevo/i18n/en/console.json and es/console.json, with the same keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from relevo.i18n import catalog, formatting
from relevo.i18n.catalog import LANGUAGES, NATIVE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LANGUAGES", "LANGUAGE_COOKIE", "NATIVE", "Texts", "choose_language", "load_texts"]

#: Cookie with the language selected on the console.
LANGUAGE_COOKIE = "lang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The texts of one language. Lifetime: the process."""

    language: str
    by_key: Mapping[str, str]

    def __getitem__(self, key: str) -> str:
        """The text for this key. Raises KeyError."""
        return self.by_key[key]

    def __call__(self, key: str, **values: object) -> str:
        """The text for this key with its placeholders filled in. Raises KeyError."""
        return self.by_key[key].format(**values)

    def percent(self, share: float | None) -> str:
        """A fraction from 0 to 1 as a percentage with one decimal place; "–" for None."""
        return "–" if share is None else formatting.percent(share, self.language)

    def number(self, value: float | None, *, digits: int = 4) -> str:
        """A number with this many significant digits; "–" for None."""
        return "–" if value is None else formatting.number(value, self.language, digits=digits)

    def integer(self, value: int | None) -> str:
        """An integer with thousands separators; "–" for None."""
        return "–" if value is None else formatting.whole(value, self.language)

    def moment(self, at: datetime | str, zone: str | None = None, *, seconds: bool = False) -> str:
        """A date and time. at: aware, or ISO 8601 as in the API. zone: name of the reader's time zone; UTC when unknown."""
        return formatting.moment(_aware(at).astimezone(_zone(zone)), self.language, seconds=seconds)

    def day(self, at: datetime | str, zone: str | None = None) -> str:
        """A date. at, zone: as in `moment`."""
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
def load_texts(language: str) -> Texts:
    """The texts of a language of LANGUAGES."""
    return Texts(language=language, by_key=catalog.texts("console", language))


def choose_language(selected: str | None, accept_language: str | None, default: str) -> str:
    """The language selected before, else the best match of the Accept-Language header, else the default."""
    return catalog.known(selected) or catalog.negotiate_language(accept_language, default)
