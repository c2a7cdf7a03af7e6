"""Reads the data subject of a request from the header Relevo-Subject and replaces it by a pseudonym.

header ─ pseudonym with a key of this home ─ inputs encrypted: subject key loaded? ─ no ─► one database lookup
                                                                      └─ yes ─► continue

The subject itself is stored nowhere. The fast path does not handle requests with this header.
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
MAX_SUBJECT_LENGTH = 200


class SubjectResolver:
    """Pseudonyms of the subjects of requests. Lifetime: the worker."""

    def __init__(self, pseudonym: Callable[[str], str], encryption: InputEncryption | None, *, now: Callable[[], datetime]) -> None:
        """encryption: encrypts inputs; None where they are not encrypted."""
        self._pseudonym = pseudonym
        self._encryption = encryption
        self._now = now

    async def of(self, scope: Scope) -> str | None:
        """The pseudonym of the request's subject; None without the header.

        Raises InvalidParameterError, DatabaseUnavailableError.
        """
        for name, value in scope["headers"]:
            if name == HEADER:
                return await self._prepare(validate_subject(_decode(value)))
        return None

    async def _prepare(self, subject: str) -> str:
        pseudonym = self._pseudonym(subject)
        if self._encryption is not None and not self._encryption.is_ready(pseudonym):
            await asyncio.to_thread(self._encryption.prepare, pseudonym, at=self._now())
        return pseudonym


def validate_subject(text: str) -> str:
    """The normalized subject: 1 to 200 printable characters. Raises InvalidParameterError, without the value."""
    # NFKC: composed and decomposed accents are the same subject.
    subject = unicodedata.normalize("NFKC", text).strip()
    if not (0 < len(subject) <= MAX_SUBJECT_LENGTH and subject.isprintable()):
        raise InvalidParameterError(field="Relevo-Subject", expected=f"1 to {MAX_SUBJECT_LENGTH} letters that can be seen")
    return subject


def _decode(value: bytes) -> str:
    """As UTF-8, else as Latin-1, the former encoding of HTTP headers, which many clients still use."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
