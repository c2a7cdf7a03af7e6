"""Translates the texts and formats the numbers of a model card and its figures.

    "On {rows} held-out rows" ─ CardWords("es") ─► es/card.json ─► "Con {rows} filas reservadas" ─► formatted

The English texts are in the code. `card.json` is separate from the catalogue of the commands, since half of it is single words.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.errors import InvalidOptionsError
from relevo.i18n import catalog, formatting
from relevo.i18n.environment import language_asked

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class CardWords:
    """Texts and number formats in one of catalog.LANGUAGES. Lifetime: the writing of one card."""

    language: str = catalog.LANGUAGES[0]

    def __call__(self, text: str, **facts: object) -> str:
        """The translated text, formatted with `facts`. Raises KeyError when a fact is missing."""
        return catalog.texts("card", self.language).get(text, text).format(**facts)

    def fixed(self, value: float, places: int) -> str:
        """A number with a fixed number of decimal places."""
        return formatting.fixed(value, self.language, places=places)

    def number(self, value: float, digits: int = 6) -> str:
        """A number with a maximum number of significant digits."""
        return formatting.number(value, self.language, digits=digits)

    def whole(self, value: int) -> str:
        """An integer with thousands separators."""
        return formatting.whole(value, self.language)

    def tick_label(self) -> Callable[[float, object], str]:
        """The formatter of the tick labels of an axis."""
        return lambda value, _position: self.number(value, 3)


def card_words(language: str | None) -> CardWords:
    """The texts of a language; None selects that of the environment. Raises InvalidOptionsError for an unsupported language."""
    supported = language_asked(os.environ) if language is None else catalog.known(language)
    if supported is None:
        raise InvalidOptionsError(options=f"language: one of {', '.join(catalog.LANGUAGES)}")
    return CardWords(supported)
