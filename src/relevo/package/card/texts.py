"""The words and figures of a model card, and of the pictures in it, in one language.

    "On {rows} held-out rows" ─ CardWords("es") ─► es/card.json ─► "Con {rows} filas reservadas" ─► filled

English stands where it is meant, as everywhere; `card.json` is apart from what commands say, since half of it is single words.
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
    """Says a card's texts in one of catalog.LANGUAGES; lives as long as a card is written."""

    language: str = catalog.LANGUAGES[0]

    def __call__(self, text: str, **facts: object) -> str:
        """A text of ours, its holes filled. Raises KeyError when a fact is missing."""
        return catalog.texts("card", self.language).get(text, text).format(**facts)

    def fixed(self, value: float, places: int) -> str:
        """A number with exactly so many decimal places."""
        return formatting.fixed(value, self.language, places=places)

    def number(self, value: float, digits: int = 6) -> str:
        """A number with so many significant digits."""
        return formatting.number(value, self.language, digits=digits)

    def whole(self, value: int) -> str:
        """A count, its thousands apart."""
        return formatting.whole(value, self.language)

    def tick(self) -> Callable[[float, object], str]:
        """What writes the numbers along an axis."""
        return lambda value, _place: self.number(value, 3)


def card_words(language: str | None) -> CardWords:
    """Those of the language; of the one that the environment asks for, when None. Raises InvalidOptionsError for one not spoken."""
    spoken = language_asked(os.environ) if language is None else catalog.known(language)
    if spoken is None:
        raise InvalidOptionsError(options=f"language: one of {', '.join(catalog.LANGUAGES)}")
    return CardWords(spoken)
