"""Sentences in the reader's language: errors, the reasons inside them, texts of pages, phrases of commands.

    RelevoError (code, facts) ─ sentence ─► template of the language, its facts said in it
    "port 80 cannot be used"  ─ said ─────► looked up as it is, else against "port {0} cannot be used"; else left as it is
    "Kept: {what}." + facts   ─ phrase ───► translated, then filled
    Accept-Language ─ pick_language ─► "en" | "es"

English is the source: it stands in the code, and what it says finds the translation. So a reason that was put together in the
core, or came from another process as words, needs no second form: `said` matches it with the template it was made from.
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

#: The languages spoken; the first is the one that every sentence exists in.
LANGUAGES = ("en", "es")
#: Each language's own name for itself.
NATIVE = {"en": "English", "es": "Español"}
#: Chapters whose keys are the English texts themselves.
BY_ENGLISH = ("words", "reasons", "cli", "settings", "api", "libraries")

#: Facts that may be words of ours; the others are names, which are never translated.
_SAID = frozenset({"expected", "got", "reason", "loss", "layer", "options", "source", "imports"})

_SPEC = re.compile(r"\{(\w*):[^{}]*\}")
#: Longer than any sentence of ours; what is, comes from a library.
_LONGEST = 2000
_DEEPEST = 3
#: So many letters of its beginning tell which templates a text can be made from.
_HEAD = 4
#: What stands between options that are all asked for, and between sentences.
_BETWEEN = ("; ", ". ")
#: More entries than any honest browser sends are not read.
_RANGES_READ = 20


@cache
def texts(chapter: str, language: str) -> Mapping[str, str]:
    """One chapter of a language of LANGUAGES; empty where the English stands in the code."""
    file = files("relevo.i18n").joinpath(language, f"{chapter}.json")
    if not file.is_file():
        return {}
    found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return found


@cache
def _by_english(language: str) -> Mapping[str, str]:
    found = {english: said for chapter in BY_ENGLISH for english, said in texts(chapter, language).items()}
    # An error may stand in another's reason, or have come from another process as words.
    kinds = [RelevoError]
    for kind in kinds:
        plain, translated = (_SPEC.sub(r"{\1}", text) for text in (kind.sentence, template(kind, language)))
        found.setdefault(plain, translated)
        found.setdefault(plain.removesuffix("."), translated.removesuffix("."))
        kinds.extend(kind.__subclasses__())
    return found


@cache
def _templates(language: str) -> Mapping[str, Sequence[tuple[int, str, str]]]:
    """What has holes to be matched, by how it begins: (rank, English, translation), those with the most letters first.

    Under "" stands what begins with a hole, or nearly so.
    """
    found: dict[str, list[tuple[int, str, str]]] = {"": []}
    for english, translated in _by_english(language).items():
        if "{" in english and english != translated:
            pieces = _pieces(english)[0]
            head = pieces[0][:_HEAD] if len(pieces[0]) >= _HEAD else ""
            found.setdefault(head, []).append((-sum(map(len, pieces)), english, translated))
    return {head: sorted(some) for head, some in found.items()}


def known(language: str | None) -> str | None:
    """The language's own code ("es" for "ES-mx" or "es_ES.UTF-8") when it is spoken here, else None."""
    primary = re.split(r"[-_.@]", (language or "").strip().lower(), maxsplit=1)[0]
    return primary if primary in LANGUAGES else None


def template(kind: type[RelevoError], language: str) -> str:
    """The sentence of an error class with its fields open; the English one where no translation exists."""
    return texts("errors", language).get(kind.code, kind.sentence)


def sentence(error: RelevoError, language: str) -> str:
    """What happened and how to mend it, in a language of LANGUAGES. Its facts are never what the caller sent."""
    english = str(error)
    if language == LANGUAGES[0]:
        return english
    if _filled(error.sentence, error.facts) == english:
        return template(type(error), language).format(**_spoken(error.facts, language))
    # Words that somebody else chose: another process, whose facts stayed there, or a server.
    return said(english, language)


def said(text: str, language: str) -> str:
    """A text of ours in the language; what is none of ours stays as it is."""
    return text if language == LANGUAGES[0] else _said(text, language, 0)


def phrase(text: str, language: str, **facts: object) -> str:
    """A text of ours in the language, its holes filled. Raises KeyError when a fact is missing."""
    return _by_english(language).get(text, text).format(**facts)


def facts_in(template: str, text: str) -> dict[str, str] | None:
    """What fills the template's holes in this text, by name; None when it was not made from the template.

    Each literal piece is sought once, from left to right, so the time grows with the text alone.
    """
    pieces, names = _pieces(template)
    end = len(text) - len(pieces[-1])
    if not text.startswith(pieces[0]) or not text.endswith(pieces[-1]) or end < len(pieces[0]):
        return None
    found: dict[str, str] = {}
    start = len(pieces[0])
    for name, piece in zip(names, pieces[1:], strict=True):
        stop = end if piece is pieces[-1] and len(found) == len(names) - 1 else text.find(piece, start, end)
        if stop < start:
            return None
        found[name] = text[start:stop]
        start = stop + len(piece)
    return found


@cache
def _pieces(template: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The literal pieces, one more than the holes, and the holes' names."""
    pieces, names = [""], []
    for literal, name, _, _ in string.Formatter().parse(template):
        pieces[-1] += literal
        if name is not None:
            names.append(name)
            pieces.append("")
    return tuple(pieces), tuple(names)


def _filled(template: str, facts: Mapping[str, object]) -> str | None:
    try:
        return template.format(**facts)
    except (KeyError, ValueError):
        return None


def _spoken(facts: Mapping[str, object], language: str) -> dict[str, object]:
    return {name: _said(str(fact), language, 0) if name in _SAID else fact for name, fact in facts.items()}


def _said(text: str, language: str, depth: int) -> str:
    whole = _by_english(language).get(text)
    if whole is not None:
        return whole
    if len(text) > _LONGEST or depth == _DEEPEST:
        return text
    templates = _templates(language)
    for _, english, translated in merge(templates.get(text[:_HEAD], ()), templates[""]):
        found = facts_in(english, text)
        if found is not None:
            # A single word in a hole is a name; several may be a phrase of ours again.
            inner = [_said(fact, language, depth + 1) if " " in fact else fact for fact in found.values()]
            return translated.format(*inner, **dict(zip(found, inner, strict=True)))
    return _said_in_parts(text, language, depth)


def _said_in_parts(text: str, language: str, depth: int) -> str:
    """Several options or sentences in a row, each said by itself."""
    for between in _BETWEEN:
        parts = text.split(between)
        if len(parts) > 1:
            return between.join(_said(part, language, depth + 1) if " " in part else part for part in parts)
    # An option that a program calls by its name, as a flag.
    return "--" + _said(text[2:], language, depth + 1) if text.startswith("--") else text


def negotiate_language(accept_language: str | None, default: str) -> str:
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
