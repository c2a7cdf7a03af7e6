"""Languages: every error in each of them, with the same facts, and the caller's choice respected."""

from __future__ import annotations

import ast
import inspect
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import relevo
from relevo import errors
from relevo.i18n import catalog

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RelevoError)]
TRANSLATED = [language for language in catalog.LANGUAGES if language != "en"]


def fields_of(template: str) -> set[tuple[str, str]]:
    return {(name, spec or "") for _, name, spec, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_every_error_is_said_in_every_language(kind: type[errors.RelevoError], language: str) -> None:
    """Each error code has its own sentence in each language, with the facts and number formats of the English one."""
    said = catalog.template(kind, language)
    assert said != kind.sentence, f"{language}.json lacks {kind.code}"
    assert fields_of(said) == fields_of(kind.sentence)


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_is_left_over(language: str) -> None:
    """A catalogue holds no sentence for a code that no error has."""
    assert catalog.texts("errors", language).keys() == {kind.code for kind in KINDS}


def test_codes_are_distinct() -> None:
    """No two errors share a code, since a code is what a program reads."""
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)


def test_words_of_ours_are_translated_and_names_are_not() -> None:
    """In Spanish the expected type is Spanish, while a field that happens to be called 'text' keeps its name."""
    error = errors.FieldWrongType(field="text", expected="a number", got="text")
    assert catalog.sentence(error, "es") == "El campo 'text' espera un número, pero ha llegado un texto."
    assert catalog.sentence(error, "en") == str(error)


def _told_to_callers() -> set[str]:
    """Every constant text that web, runtime and serve give an error as a fact which may be words of ours."""
    texts = set()
    for room in ("web", "runtime", "serve"):
        for file in Path(relevo.__file__).parent.joinpath(room).rglob("*.py"):
            for call in [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]:
                given = [word.value for word in call.keywords if word.arg in ("reason", "expected", "got")]
                texts |= {value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)}
    return {text for text in texts if " " in text}


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("text", sorted(_told_to_callers()))
def test_no_sentence_is_in_two_languages(text: str, language: str) -> None:
    """Whatever our own words tell as reason, expectation or find exists in each language."""
    assert text in catalog.texts("words", language)


def test_figures_within_our_words_stay_figures() -> None:
    """A translated reason keeps the figure that its English form tells."""
    error = errors.BadJson(reason="it breaks off or goes wrong at byte 120")
    assert catalog.sentence(error, "es") == "El cuerpo no es JSON válido: se corta o tiene un error en el byte 120."


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("es", "es"),
        ("ES-mx", "es"),
        ("fr, es;q=0.5, en;q=0.4", "es"),
        ("es;q=0.1, en;q=0.9", "en"),
        ("es;q=0, fr", "en"),
        ("es;q=none", "en"),
        ("*", "en"),
    ],
)
def test_accept_language_is_followed(header: str | None, language: str) -> None:
    """The best liked language that is spoken here wins; nothing usable means the default."""
    assert catalog.pick_language(header, "en") == language


@given(st.text(), st.sampled_from(catalog.LANGUAGES))
def test_any_header_gives_a_language(header: str, default: str) -> None:
    """No Accept-Language, however broken, gives anything but a spoken language."""
    assert catalog.pick_language(header, default) in catalog.LANGUAGES
