"""One-time codes that hand a login over to a console: valid for one minute, redeemed once (RFC 6749 authorization code with PKCE).

    issue(login code) ─► code, sent to that browser only ─ SHA-256 ─► login_codes ─ take(code) ─► LoginCode | None

A presented code is deleted, whether it was accepted or not.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import login_codes
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

#: Lifetime of a code.
LONGEST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginCode:
    """The user and console that a code is for. Lifetime: the code."""

    user: str  # id
    console: str  # URL at which the browser reaches it
    challenge: str  # PKCE code challenge of the requesting console (RFC 7636, S256)


class LoginCodes:
    """Codes not yet redeemed. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def issue(self, login_code: LoginCode, *, at: datetime) -> str:
        """Issues a code; the table stores only its hash."""
        code = secrets.token_urlsafe(32)
        row = {
            "code_hash": _code_hash(code),
            "user_id": login_code.user,
            "console": login_code.console,
            "challenge": login_code.challenge,
        }
        with write_transaction(self._engine) as connection:
            connection.execute(delete(login_codes).where(login_codes.c.issued_us <= to_us(at - LONGEST)))
            connection.execute(login_codes.insert().values(**row, issued_us=to_us(at)))
        return code

    def take(self, code: str, *, at: datetime) -> LoginCode | None:
        """Redeems a code. Returns None for an unknown, expired or used one."""
        columns = login_codes.c
        matches = columns.code_hash == _code_hash(code)
        with read_transaction(self._engine) as connection:
            # An invalid code causes no write.
            if connection.scalar(select(columns.issued_us).where(matches)) is None:
                return None
        returned = (columns.user_id, columns.console, columns.challenge, columns.issued_us)
        with write_transaction(self._engine) as connection:
            row = connection.execute(delete(login_codes).where(matches).returning(*returned)).first()
        if row is None or row.issued_us <= to_us(at - LONGEST):
            return None
        return LoginCode(user=row.user_id, console=row.console, challenge=row.challenge)


def _code_hash(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()
