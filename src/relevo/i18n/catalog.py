"""Message catalogues: translates errors and their reasons, texts of pages, and output of commands.

    RelevoError (code, facts) ─ sentence ─► template of the language, formatted with its translated facts
    "port 80 cannot be used"  ─ said ─────► looked up literally, else matched with "port {0} cannot be used"; else unchanged
    "Kept: {what}." + facts   ─ phrase ───► translated, then formatted
    Accept-Language ─ negotiate_language ─► "en" | "es"

English text is the key of a translation. A reason that was formatted in the core, or came from another process as text, needs no
structured form: `said` finds the template that matches it.
"""

from __future__ import annotations

import json
import re
import string
from functools import cache
from heapq import merge
from importlib.resources import files
from typing import TYPE_CHECKING

from relevo.errors import RelevoError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Supported languages; the first is the source language.
LANGUAGES = ("en", "es")
#: Each language's own name for itself.
NATIVE = {"en": "English", "es": "Español"}
#: Catalogues whose keys are the English texts.
BY_ENGLISH = ("words", "reasons", "cli", "settings", "api", "libraries")

#: Facts that may be translatable text; the others are names, which are never translated.
_TRANSLATED_FACTS = frozenset({"expected", "got", "reason", "loss", "layer", "options", "source", "imports"})

_SPEC = re.compile(r"\{(\w*):[^{}]*\}")
#: Longer text is not one of the catalogue's sentences.
_MAX_LENGTH = 2000
_MAX_DEPTH = 3
#: Characters at the start of a text by which its possible templates are indexed.
_PREFIX_LENGTH = 4
#: Separators of options, and of sentences.
_SEPARATORS = ("; ", ". ")
#: Maximum number of entries of an Accept-Language header that are parsed.
_MAX_RANGES = 20


@cache
def texts(chapter: str, language: str) -> Mapping[str, str]:
    """One catalogue of a language of LANGUAGES; empty where the English text is in the code."""
    file = files("relevo.i18n").joinpath(language, f"{chapter}.json")
    if not file.is_file():
        return {}
    catalogue: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return catalogue


@cache
def _by_english(language: str) -> Mapping[str, str]:
    translations = {english: translation for chapter in BY_ENGLISH for english, translation in texts(chapter, language).items()}
    # An error's sentence may be part of another's reason, or come from another process as text.
    kinds = [RelevoError]
    for kind in kinds:
        english_text, translated = (_SPEC.sub(r"{\1}", text) for text in (kind.sentence, template(kind, language)))
        translations.setdefault(english_text, translated)
        translations.setdefault(english_text.removesuffix("."), translated.removesuffix("."))
        kinds.extend(kind.__subclasses__())
    return translations


@cache
def _templates(language: str) -> Mapping[str, Sequence[tuple[int, str, str]]]:
    """Templates with placeholders, by prefix: (rank, English, translation), those with the most literal characters first.

    The key "" has the templates that begin with a placeholder, or nearly so.
    """
    by_prefix: dict[str, list[tuple[int, str, str]]] = {"": []}
    for english, translated in _by_english(language).items():
        if "{" in english and english != translated:
            pieces = _pieces(english)[0]
            prefix = pieces[0][:_PREFIX_LENGTH] if len(pieces[0]) >= _PREFIX_LENGTH else ""
            by_prefix.setdefault(prefix, []).append((-sum(map(len, pieces)), english, translated))
    return {prefix: sorted(entries) for prefix, entries in by_prefix.items()}


def known(language: str | None) -> str | None:
    """The code of a supported language ("es" for "ES-mx" or "es_ES.UTF-8"), else None."""
    primary = re.split(r"[-_.@]", (language or "").strip().lower(), maxsplit=1)[0]
    return primary if primary in LANGUAGES else None


def template(kind: type[RelevoError], language: str) -> str:
    """The template of an error class; the English one where no translation exists."""
    return texts("errors", language).get(kind.code, kind.sentence)


def sentence(error: RelevoError, language: str) -> str:
    """The translated message of an error, in a language of LANGUAGES. Facts never contain client input."""
    english = str(error)
    if language == LANGUAGES[0]:
        return english
    if _format(error.sentence, error.facts) == english:
        return template(type(error), language).format(**_translate_facts(error.facts, language))
    # The message came as text, without its facts: from another process, or from a server.
    return said(english, language)


def said(text: str, language: str) -> str:
    """The translation of a formatted text; a text without a translation is returned unchanged."""
    return text if language == LANGUAGES[0] else _translate(text, language, 0)


def phrase(text: str, language: str, **facts: object) -> str:
    """The translation of a template, formatted with `facts`. Raises KeyError when a fact is missing."""
    return _by_english(language).get(text, text).format(**facts)


def facts_in(template: str, text: str) -> dict[str, str] | None:
    """The values of the template's placeholders in this text, by name; None if it does not match.

    Each literal piece is searched once, from left to right, so the time is linear in the text.
    """
    pieces, names = _pieces(template)
    end = len(text) - len(pieces[-1])
    if not text.startswith(pieces[0]) or not text.endswith(pieces[-1]) or end < len(pieces[0]):
        return None
    facts: dict[str, str] = {}
    start = len(pieces[0])
    for name, piece in zip(names, pieces[1:], strict=True):
        stop = end if piece is pieces[-1] and len(facts) == len(names) - 1 else text.find(piece, start, end)
        if stop < start:
            return None
        facts[name] = text[start:stop]
        start = stop + len(piece)
    return facts


@cache
def _pieces(template: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The literal pieces, one more than the placeholders, and the names of the placeholders."""
    pieces, names = [""], []
    for literal, name, _, _ in string.Formatter().parse(template):
        pieces[-1] += literal
        if name is not None:
            names.append(name)
            pieces.append("")
    return tuple(pieces), tuple(names)


def _format(template: str, facts: Mapping[str, object]) -> str | None:
    try:
        return template.format(**facts)
    except (KeyError, ValueError):
        return None


def _translate_facts(facts: Mapping[str, object], language: str) -> dict[str, object]:
    return {name: _translate(str(fact), language, 0) if name in _TRANSLATED_FACTS else fact for name, fact in facts.items()}


def _translate(text: str, language: str, depth: int) -> str:
    exact = _by_english(language).get(text)
    if exact is not None:
        return exact
    if len(text) > _MAX_LENGTH or depth == _MAX_DEPTH:
        return text
    templates = _templates(language)
    for _, english, translated in merge(templates.get(text[:_PREFIX_LENGTH], ()), templates[""]):
        facts = facts_in(english, text)
        if facts is not None:
            # A single word is a name; several words may be translatable text again.
            values = [_translate(fact, language, depth + 1) if " " in fact else fact for fact in facts.values()]
            return translated.format(*values, **dict(zip(facts, values, strict=True)))
    return _translate_parts(text, language, depth)


def _translate_parts(text: str, language: str, depth: int) -> str:
    """Translates a sequence of options or sentences one by one."""
    for separator in _SEPARATORS:
        parts = text.split(separator)
        if len(parts) > 1:
            return separator.join(_translate(part, language, depth + 1) if " " in part else part for part in parts)
    # An option, written as a command line flag.
    return "--" + _translate(text[2:], language, depth + 1) if text.startswith("--") else text


def negotiate_language(accept_language: str | None, default: str) -> str:
    """The supported language that the client prefers, or the default.

    accept_language: value of the header, RFC 9110 §12.5.4: "es-ES,es;q=0.9,en;q=0.8". Invalid entries are ignored.
    """
    preferences = [_preference(entry) for entry in (accept_language or "").split(",")[:_MAX_RANGES]]
    # sorted() is stable: of two languages with equal quality, the first wins.
    for quality, language in sorted(preferences, key=lambda pair: -pair[0]):
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
