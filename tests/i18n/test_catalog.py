"""Message catalogues: every text in every language, with the same placeholders, and language negotiation."""

from __future__ import annotations

import errno
import inspect
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import english

from relevo import errors
from relevo.i18n import catalog

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RelevoError)]
_MIN_LETTERS = 5
TRANSLATED = [language for language in catalog.LANGUAGES if language != "en"]


def fields_of(template: str) -> set[tuple[str, str]]:
    return {(name, spec or "") for _, name, spec, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_every_error_is_said_in_every_language(kind: type[errors.RelevoError], language: str) -> None:
    """Each error code has its own sentence in each language, with the placeholders and formats of the English one."""
    translated = catalog.template(kind, language)
    assert translated != kind.sentence, f"{language}.json lacks {kind.code}"
    assert fields_of(translated) == fields_of(kind.sentence)


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_is_left_over(language: str) -> None:
    """The catalogue of errors has no unknown code."""
    assert catalog.texts("errors", language).keys() == {kind.code for kind in KINDS}


def test_codes_are_distinct() -> None:
    """No two errors share a code."""
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)


def test_words_of_ours_are_translated_and_names_are_not() -> None:
    """The expected type is translated; a field named 'text' keeps its name."""
    error = errors.FieldTypeError(field="text", expected="a number", got="text")
    assert catalog.sentence(error, "es") == "El campo 'text' espera un número, pero ha llegado un texto."
    assert catalog.sentence(error, "en") == str(error)


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_sentence_is_in_two_languages(language: str) -> None:
    """Every reason or expectation of an error is translated, with the same number of placeholders."""
    missing = sorted({english.anonymous(text) for text in english.reasons(*english.rooms())} - _translations(language).keys())
    assert not missing, "es/reasons.json lacks:\n" + "\n".join(missing)


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_command_speaks_another_language(language: str) -> None:
    """Every sentence, table heading and step of a command, and every line of its help, is translated."""
    missing = {english.anonymous(text) for text in english.spoken()} | english.helps() | english.words_for_values()
    missing -= {text.strip() for text in _translations(language)}
    assert not missing, "es/cli.json, or settings.json for a setting, lacks:\n" + "\n".join(sorted(missing))


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_template_fits_what_is_not_ours(language: str) -> None:
    """Templates have enough literal text: one of placeholders only would match any sentence."""
    matched = [english for entries in catalog._templates(language).values() for _, english, _ in entries]
    assert matched
    assert not [text for text in matched if sum(map(str.isalpha, "".join(catalog._pieces(text)[0]))) < _MIN_LETTERS]


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_translation_fills_the_holes_of_its_english(language: str) -> None:
    """A translation has exactly the placeholders of the English text, is not empty, and can be formatted."""
    for chapter in catalog.BY_ENGLISH:
        for text, translation in catalog.texts(chapter, language).items():
            names = [name for name, _ in fields_of(text) if not name.isdigit()]
            facts = catalog.facts_in(text, text.format(*range(9), **dict.fromkeys(names, 3)))
            assert facts is None or translation.format(*facts.values(), **facts), text
            assert {name for name, _ in fields_of(translation)} == {name for name, _ in fields_of(text)}, text
            assert translation.strip(), text


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_outlives_its_english(language: str) -> None:
    """A text that is not in the source has no translation (/docs has a test of its own)."""
    chapters = [chapter for chapter in catalog.BY_ENGLISH if chapter not in {"libraries", "api"}]
    english_texts = {english.anonymous(text).strip() for chapter in chapters for text in catalog.texts(chapter, language)}
    unused = sorted(english_texts - english.everything() - english.helps())
    assert not unused, "no longer said:\n" + "\n".join(unused)


def _translations(language: str) -> dict[str, str]:
    return {
        english.anonymous(text): value for chapter in catalog.BY_ENGLISH for text, value in catalog.texts(chapter, language).items()
    }


@pytest.mark.parametrize("chapter", ["page", "console"])
def test_keyed_texts_are_the_same_in_every_language(chapter: str) -> None:
    """Every language has the same keys with the same placeholders, none empty."""
    first = catalog.texts(chapter, catalog.LANGUAGES[0])
    assert first
    for language in TRANSLATED:
        catalogue = catalog.texts(chapter, language)
        assert catalogue.keys() == first.keys()
        assert [key for key in first if fields_of(catalogue[key]) != fields_of(first[key]) or not catalogue[key].strip()] == []


def test_why_a_certificate_is_not_trusted_is_said() -> None:
    """Messages of the TLS library are translated."""
    english = (
        "The certificate of https://a is not trusted here: self-signed certificate. "
        "If it is the server's own, name its file: --ca or RELEVO_CA, in Python verify=."
    )
    assert "Aquí no se confía en el certificado de https://a: es un certificado autofirmado." in catalog.said(english, "es")
    mismatch = "Hostname mismatch, certificate is not valid for 'models.example'."
    assert catalog.said(mismatch, "es") == "el certificado no vale para el nombre 'models.example'"


@pytest.mark.parametrize(
    "number",
    [
        *(errno.EEXIST, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENOSPC),
        *(errno.EROFS, errno.EIO, errno.EMFILE, errno.ENAMETOOLONG, errno.ELOOP, errno.EADDRINUSE, errno.EADDRNOTAVAIL),
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH),
    ],
    ids=errno.errorcode.get,
)
def test_what_the_system_says_is_said(number: int) -> None:
    """Common messages of the operating system are translated."""
    error = errors.ConfigError(reason=f"the folder x cannot be made ({os.strerror(number)})")
    assert os.strerror(number) not in catalog.sentence(error, "es")


def test_an_error_within_a_reason_is_said_too() -> None:
    """An error message inside a reason is translated as well."""
    error = errors.NotReadyError(reason=str(errors.DigestMismatchError(path="model.onnx")))
    assert "'model.onnx' se ha cambiado después de empaquetar" in catalog.sentence(error, "es")


def test_options_in_a_row_are_said_one_by_one() -> None:
    """A text with several options is translated option by option."""
    error = errors.InvalidOptionsError(options="--mode L or --mode RGB; --layout NHWC or --layout NCHW")
    assert catalog.sentence(error, "es").endswith("añada: --mode L o --mode RGB; --layout NHWC o --layout NCHW.")


def test_a_reason_put_together_elsewhere_is_said_with_its_facts() -> None:
    """A formatted reason matches its template; its facts are kept, and translated where they are text."""
    error = errors.ConfigError(reason="port 80 of 10.0.0.1 cannot be used (the disk is full); choose another with --port")
    expected = (
        "Los ajustes no se pueden usar: el puerto 80 de 10.0.0.1 no se puede usar (el disco está lleno); elija otro con --port."
    )
    assert catalog.sentence(error, "es") == expected


def test_an_error_that_came_as_words_is_said_as_its_class_does() -> None:
    """The message of an error from another process is translated without its facts; unknown text is unchanged."""
    message = str(errors.VersionNotFoundError(model="digits", version=7))
    assert catalog.sentence(errors.VersionNotFoundError.with_message(message), "es") == "El modelo 'digits' no tiene la versión 7."
    assert catalog.sentence(errors.VersionNotFoundError.with_message("Nada de eso."), "es") == "Nada de eso."
    mismatch = str(errors.GoldenMismatchError(example=3, difference=0.25, tolerance=0.001))
    assert "el ejemplo 3 difiere en 0.25" in catalog.sentence(errors.GoldenMismatchError.with_message(mismatch), "es")


def test_the_most_telling_template_is_taken() -> None:
    """Of two matching templates, the one with more literal text wins."""
    translated = catalog.said("the folder x cannot be written; choose another --home, or mend its rights", "es")
    assert translated == "en la carpeta x no se puede escribir; elija otro --home o corrija sus permisos"


@given(st.text(max_size=300))
def test_any_text_can_be_looked_for(text: str) -> None:
    """Any text can be matched without an error; an unknown one is unchanged."""
    assert catalog.facts_in("{0} a {1} b {2}", text) is None or " a " in text
    catalog.said(text, "es")


def test_figures_within_our_words_stay_figures() -> None:
    """A translated reason keeps its numbers."""
    error = errors.InvalidJsonError(reason="it breaks off or goes wrong at byte 120")
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
    """The preferred supported language wins; without one, the default."""
    assert catalog.negotiate_language(header, "en") == language


@given(st.text(), st.sampled_from(catalog.LANGUAGES))
def test_any_header_gives_a_language(header: str, default: str) -> None:
    """Any Accept-Language header, valid or not, gives a supported language."""
    assert catalog.negotiate_language(header, default) in catalog.LANGUAGES
