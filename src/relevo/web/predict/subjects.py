"""Whom an input is about: told by the header Relevo-Subject, known from there on by a pseudonym alone.

header ─ pseudonym under a key of this home ─ with sealing: its key at hand? ─ no ─► one look into the store
                                                         └─ yes ─► on

The name itself is written nowhere. The short way of asking leaves requests with this header to the long one.
"""

from __future__ import annotations

import asyncio
import unicodedata
from typing import TYPE_CHECKING

from relevo.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.types import Scope

    from relevo.store.encryption import InputEncryption

HEADER = b"relevo-subject"
MOST_LETTERS = 200


class SubjectResolver:
    """Names the subjects of requests; lives as long as the worker."""

    def __init__(self, pseudonym: Callable[[str], str], sealing: InputEncryption | None, *, now: Callable[[], datetime]) -> None:
        """sealing: where inputs are sealed; None where they are not."""
        self._pseudonym = pseudonym
        self._sealing = sealing
        self._now = now

    async def of(self, scope: Scope) -> str | None:
        """The pseudonym of whom this request is about; None where nobody is named.

        Raises InvalidParameterError, DatabaseUnavailableError.
        """
        for name, value in scope["headers"]:
            if name == HEADER:
                return await self._known(validate_subject(_text(value)))
        return None

    async def _known(self, subject: str) -> str:
        pseudonym = self._pseudonym(subject)
        if self._sealing is not None and not self._sealing.is_ready(pseudonym):
            await asyncio.to_thread(self._sealing.prepare, pseudonym, at=self._now())
        return pseudonym


def validate_subject(text: str) -> str:
    """The subject, when it may be one: 1 to 200 letters that can be seen. Raises InvalidParameterError, which repeats nothing of it."""
    # Of one person, however it is composed: an accent of its own or within the letter.
    subject = unicodedata.normalize("NFKC", text).strip()
    if not (0 < len(subject) <= MOST_LETTERS and subject.isprintable()):
        raise InvalidParameterError(field="Relevo-Subject", expected=f"1 to {MOST_LETTERS} letters that can be seen")
    return subject


def _text(value: bytes) -> str:
    """As UTF-8, else as Latin-1, which HTTP's headers once were and many clients still write."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
