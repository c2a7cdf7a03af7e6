"""Codes by which a console gets the session of whoever has just signed in elsewhere: drawn once, good for a minute, taken once.

    issue(user, console, challenge) ─► code, to that browser alone ─ SHA-256 ─► hand_overs ─ take(code) ─► LoginCode | None

A code that was shown is gone, whatever became of it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import hand_overs
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

#: How long a code counts.
LONGEST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginCode:
    """Who is handed over to whom; lives as long as its code."""

    user: str  # id
    console: str  # address at which the browser reaches it
    challenge: str  # of the secret that only who asked for the code knows (RFC 7636, S256)


class LoginCodes:
    """Codes under way; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def issue(self, wanted: LoginCode, *, at: datetime) -> str:
        """A code for this; of what is kept nobody can make it."""
        code = secrets.token_urlsafe(32)
        row = {"code_hash": _kept(code), "user_id": wanted.user, "console": wanted.console, "challenge": wanted.challenge}
        with write_transaction(self._engine) as connection:
            connection.execute(delete(hand_overs).where(hand_overs.c.issued_us <= to_us(at - LONGEST)))
            connection.execute(hand_overs.insert().values(**row, issued_us=to_us(at)))
        return code

    def take(self, code: str, *, at: datetime) -> LoginCode | None:
        """What a code is for, the first time and in time; None else."""
        here = hand_overs.c
        this = here.code_hash == _kept(code)
        with read_transaction(self._engine) as connection:
            # Words that are no code cost no writing.
            if connection.scalar(select(here.issued_us).where(this)) is None:
                return None
        columns = (here.user_id, here.console, here.challenge, here.issued_us)
        with write_transaction(self._engine) as connection:
            row = connection.execute(delete(hand_overs).where(this).returning(*columns)).first()
        if row is None or row.issued_us <= to_us(at - LONGEST):
            return None
        return LoginCode(user=row.user_id, console=row.console, challenge=row.challenge)


def _kept(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()
