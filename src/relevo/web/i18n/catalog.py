"""Errors and page texts in the caller's language.

    RelevoError (code, facts) ─ template of the language ─ facts said in it ─► sentence
    Accept-Language ─ pick_language ─► "en" | "es"

English sentences of errors live beside their classes in `errors.py`; the other catalogues translate them by code. Facts that are
words of ours ("a whole number") are translated by the catalogue's `words`; names and figures pass as they are.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.errors import RelevoError

#: The languages spoken; the first is the one that every sentence exists in.
LANGUAGES = ("en", "es")

#: Facts that may be words of ours; the others are names, which are never translated.
_SAID = frozenset({"expected", "got", "reason"})

_FIGURE = re.compile(r"(?<![\w.-])\d+(?![\w-])")

#: More entries than any honest browser sends are not read.
_RANGES_READ = 20


@cache
def _catalogue(language: str) -> dict[str, dict[str, str]]:
    text = files("relevo.web.i18n").joinpath(f"{language}.json").read_text(encoding="utf-8")
    catalogue: dict[str, dict[str, str]] = json.loads(text)
    return catalogue


def known(language: str | None) -> str | None:
    """The language's own code ("es" for "ES-mx") when it is spoken here, else None."""
    primary = (language or "").strip().lower().partition("-")[0]
    return primary if primary in LANGUAGES else None


def page_texts(language: str) -> Mapping[str, str]:
    """The texts of the page by key, in a language of LANGUAGES."""
    return _catalogue(language).get("page", {})


def words(language: str) -> Mapping[str, str]:
    """Words of ours that appear as facts, by their English form; empty in English."""
    return _catalogue(language).get("words", {})


def template(kind: type[RelevoError], language: str) -> str:
    """The sentence of an error class with its fields open; the English one where no translation exists."""
    return _catalogue(language).get("errors", {}).get(kind.code, kind.sentence)


def sentence(error: RelevoError, language: str) -> str:
    """What happened and how to mend it, in a language of LANGUAGES. Its facts are never what the caller sent."""
    facts = {name: _said(fact, language) if name in _SAID else fact for name, fact in error.facts.items()}
    return template(type(error), language).format(**facts)


def _said(fact: object, language: str) -> object:
    """A fact in this language where it is words of ours; "#" stands for a figure in them."""
    figures = _FIGURE.findall(str(fact))
    said = words(language).get(_FIGURE.sub("#", str(fact)))
    return fact if said is None else said.replace("#", "{}").format(*figures)


def pick_language(accept_language: str | None, default: str) -> str:
    """The spoken language that the caller likes best, or the default.

    accept_language: the header's value, RFC 9110 §12.5.4: "es-ES,es;q=0.9,en;q=0.8". A broken entry is passed over.
    """
    liked = [_preference(entry) for entry in (accept_language or "").split(",")[:_RANGES_READ]]
    # sorted() keeps the order of equals: of two languages liked alike the first named wins.
    for quality, language in sorted(liked, key=lambda pair: -pair[0]):
        if quality > 0 and language is not None:
            return language
    return default


def _preference(entry: str) -> tuple[float, str | None]:
    name, _, parameter = entry.partition(";")
    key, _, value = parameter.strip().partition("=")
    if not parameter:
        return 1.0, known(name)
    try:
        return (float(value), known(name)) if key.strip().lower() == "q" else (0.0, None)
    except ValueError:
        return 0.0, None
