"""The language that a person asked for, where nothing but the environment and a file of settings can say it.

RELEVO_LANGUAGE ─► what a file of settings says ─► LC_ALL, LC_MESSAGES, LANG ─► English     the first that is spoken wins
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.i18n.catalog import LANGUAGES, known

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")


def language_asked(environ: Mapping[str, str], written: str | None = None) -> str:
    """One of LANGUAGES. written: what a file of settings says."""
    # Of the locale's variables the first that is set counts, whether it is spoken here or not.
    own = next((environ[name] for name in _LOCALE if environ.get(name)), None)
    return known(environ.get("RELEVO_LANGUAGE")) or known(written) or known(own) or LANGUAGES[0]
