"""Current language of the command line, and translation of texts, errors, numbers and dates to it.

    RELEVO_LANGUAGE ─► relevo.toml [server] language ─► LC_ALL, LC_MESSAGES, LANG ─► English     the first supported one wins
    phrase("Kept: {what}.", what=…) ─► Spanish catalogue ─► "Guardado: …"

Never translated: --json, error codes, names of commands and flags. `help.py` translates the help of commands.
"""

from __future__ import annotations

import os
import pwd
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING

from relevo.config import read_toml
from relevo.errors import RelevoError
from relevo.i18n import catalog
from relevo.i18n.environment import language_asked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Language of the running command; English by default.
_language: ContextVar[str] = ContextVar("spoken", default=catalog.LANGUAGES[0])


def set_language(language: str) -> None:
    """Sets the current language, one of catalog.LANGUAGES."""
    _language.set(language)


def language() -> str:
    """The current language."""
    return _language.get()


def detect_language(environ: Mapping[str, str], toml: Path) -> str:
    """The language selected by the environment or by relevo.toml. An invalid file is reported later, by the command."""
    return language_asked(environ, _configured_language(toml))


def _configured_language(toml: Path) -> str | None:
    if not os.path.lexists(toml):
        return None
    try:
        return str(read_toml(toml).get("server", {}).get("language"))
    except RelevoError:
        return None


def phrase(text: str, **facts: object) -> str:
    """Translates a template to the current language and fills in its placeholders."""
    return catalog.phrase(text, language(), **facts)


def translate(text: str) -> str:
    """Translates a finished English text, such as a reason, to the current language; unknown texts stay as they are."""
    return catalog.said(text, language())


def error_text(error: RelevoError) -> str:
    """The translated message of an error: what happened and how to fix it."""
    return catalog.sentence(error, language())


def permission_text(cause: PermissionError) -> str:
    """The message for a permission error, in a form that can be translated."""
    return f"the user {process_user()} may not use '{cause.filename}'"


def process_user() -> str:
    """The effective user of this process: its name, or its number if it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def percent(share: float) -> str:
    """Formats a fraction as a percentage with one decimal; less than 1 is never rounded up to 100 %."""
    from relevo.i18n import formatting

    return formatting.percent(share, language())


def number(value: float, *, digits: int = 4) -> str:
    """Formats a number. digits: significant digits."""
    from relevo.i18n import formatting

    return formatting.number(value, language(), digits=digits)


def fixed(value: float, places: int) -> str:
    """Formats a number. places: decimal places."""
    from relevo.i18n import formatting

    return formatting.fixed(value, language(), places=places)


def moment(at: datetime | str, *, seconds: bool = False) -> str:
    """Formats date and time in the local time zone, with its name. at: aware, or text in ISO 8601."""
    from relevo.i18n import formatting

    aware = datetime.fromisoformat(at) if isinstance(at, str) else at
    return formatting.moment(aware.astimezone(), language(), seconds=seconds)


def day(at: datetime) -> str:
    """Formats the date in the local time zone."""
    from relevo.i18n import formatting

    return formatting.day(at.astimezone(), language())
