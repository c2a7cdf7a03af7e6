"""Renders Jinja templates to bytes, with autoescaping; undefined names raise an error."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import jinja2

import relevo
from relevo.i18n.catalog import LANGUAGES, NATIVE, said, texts
from relevo.i18n.formatting import moment, number, percent
from relevo.web.pages.assets import link


def render(template: str, language: str, **facts: Any) -> bytes:
    """One page in UTF-8. Raises jinja2.UndefinedError for an undefined name."""
    text = _environment().get_template(template).render(language=language, t=_texts(language), **facts)
    return text.encode()


@cache
def _texts(language: str) -> SimpleNamespace:
    # Not a dict, whose own methods, such as `clear`, would shadow text keys.
    return SimpleNamespace(**texts("page", language))


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
    environment.filters.update(percent=percent, number=number, moment=moment, said=said)
    return environment
