"""Detects the user's language from the environment and the settings file.

RELEVO_LANGUAGE ─► settings file ─► LC_ALL, LC_MESSAGES, LANG ─► English     the first supported one wins
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.i18n.catalog import LANGUAGES, known

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")


def language_asked(environ: Mapping[str, str], written: str | None = None) -> str:
    """One of LANGUAGES. written: the language in the settings file."""
    # Of the locale variables only the first that is set counts, even if its language is not supported.
    locale = next((environ[name] for name in _LOCALE_VARIABLES if environ.get(name)), None)
    return known(environ.get("RELEVO_LANGUAGE")) or known(written) or known(locale) or LANGUAGES[0]
