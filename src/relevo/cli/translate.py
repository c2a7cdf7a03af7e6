"""The language that commands speak, and their sentences in it.

    RELEVO_LANGUAGE ─► relevo.toml [server] language ─► LC_ALL, LC_MESSAGES, LANG ─► English     the first that is spoken wins
    phrase("Kept: {what}.", what=…) ─► es/cli.json ─► "Guardado: …"

What programs read is never translated: --json, error codes, names of commands and flags. The help of commands is `helping.py`.
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

#: Spoken by the command that runs; English until one does.
_spoken: ContextVar[str] = ContextVar("spoken", default=catalog.LANGUAGES[0])


def set_language(language: str) -> None:
    """Say everything in this language of catalog.LANGUAGES from now on."""
    _spoken.set(language)


def language() -> str:
    """The language now spoken."""
    return _spoken.get()


def detect_language(environ: Mapping[str, str], toml: Path) -> str:
    """The language that the environment, or the settings of this folder, ask for. A broken file is for the command to refuse."""
    return language_asked(environ, _written(toml))


def _written(toml: Path) -> str | None:
    if not os.path.lexists(toml):
        return None
    try:
        return str(read_toml(toml).get("server", {}).get("language"))
    except RelevoError:
        return None


def phrase(text: str, **facts: object) -> str:
    """A sentence of ours in the language spoken, its holes filled."""
    return catalog.phrase(text, language(), **facts)


def translate(text: str) -> str:
    """What another room said in English (a finding, a reason) in the language spoken; a stranger's words as they are."""
    return catalog.said(text, language())


def error_text(error: RelevoError) -> str:
    """What happened and how to mend it."""
    return catalog.sentence(error, language())


def permission_text(cause: PermissionError) -> str:
    """What is closed to whom, in words that have a translation."""
    return f"the user {process_user()} may not use '{cause.filename}'"


def process_user() -> str:
    """The name of the user that this process is, or the number of one without a name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def percent(share: float) -> str:
    """A share of one to a tenth of a percent; what is not certain is never rounded up to 100."""
    from relevo.i18n import formatting

    return formatting.percent(share, language())


def number(value: float, *, digits: int = 4) -> str:
    """A number with so many significant digits."""
    from relevo.i18n import formatting

    return formatting.number(value, language(), digits=digits)


def fixed(value: float, places: int) -> str:
    """A number with exactly so many decimal places."""
    from relevo.i18n import formatting

    return formatting.fixed(value, language(), places=places)


def moment(at: datetime | str, *, seconds: bool = False) -> str:
    """A day and a time in the zone of this machine, which is told; a text is ISO 8601."""
    from relevo.i18n import formatting

    aware = datetime.fromisoformat(at) if isinstance(at, str) else at
    return formatting.moment(aware.astimezone(), language(), seconds=seconds)


def day(at: datetime) -> str:
    """The day that it is here."""
    from relevo.i18n import formatting

    return formatting.day(at.astimezone(), language())
