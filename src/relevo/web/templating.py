"""Templates to bytes: escaping always on, an unknown name always an error."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import jinja2

import relevo
from relevo.web.assets import link
from relevo.web.i18n.catalog import LANGUAGES, page_texts, words

#: Each language's own name for itself.
NATIVE = {"en": "English", "es": "Español"}


def render(template: str, language: str, **facts: Any) -> bytes:  # noqa: ANN401 - whatever the template names
    """One page in UTF-8. Raises jinja2.UndefinedError when the template names what is not there."""
    text = _environment().get_template(template).render(language=language, t=_texts(language), **facts)
    return text.encode()


@cache
def _texts(language: str) -> SimpleNamespace:
    # A dict would answer `t.clear` with its own method.
    return SimpleNamespace(**page_texts(language))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("relevo.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(asset=link, version=relevo.__version__, languages=[(code, NATIVE[code]) for code in LANGUAGES])
    environment.filters.update(percent=percent, number=number, said=said)
    return environment


def percent(share: float, language: str) -> str:
    """0.9845 as "98.5 %" or "98,5 %"; a share just below one is never rounded up to certainty."""
    shown = min(round(share * 100, 1), 99.9) if share < 1 else 100.0
    return _comma(f"{shown:.1f}", language) + "\N{NO-BREAK SPACE}%"


def number(value: float, language: str) -> str:
    """A regression's value with six significant figures."""
    return _comma(f"{value:,.6g}".replace(",", "\N{NARROW NO-BREAK SPACE}"), language)


def said(fact: str, language: str) -> str:
    """A word of ours in the language; anything else as it is."""
    return words(language).get(fact, fact)


def _comma(text: str, language: str) -> str:
    return text.replace(".", ",") if language == "es" else text
