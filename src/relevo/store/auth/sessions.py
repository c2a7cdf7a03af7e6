"""Who is signed in, and who mistypes: sessions and wrong passwords, shared by every worker.

    open(user) ─► token, to the browser alone ─ SHA-256 ─► sessions ─ find(token) ─► Principal, as the user is at this moment
    try_password(name, desk) ─ too many wrong ones? ─► LoginThrottledError   else noted, until it turns out right

A try is noted before the password is looked at, so that a hundred at once are a hundred.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, or_, select, text, update

from relevo.domain.access import AuthMethod, Principal, Role
from relevo.domain.audit import Actor, AuditEvent
from relevo.domain.login_backoff import WINDOW_S, login_delay_s, name_wait_s
from relevo.domain.names import name_key
from relevo.errors import AuthenticationError, LoginThrottledError
from relevo.store.auth.grants import grants_by_user
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import sessions, sign_in_failures, sign_in_places, users
from relevo.store.db.text import strip_unstorable
from relevo.util.addresses import network_of
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Engine

    from relevo.store.audit.log import AuditLog

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
#: A session's last use is written at most this often: looking is no writing.
_NOTED_EVERY = timedelta(minutes=1)
_MOST_DESK = 64
#: Networks of a user's that are remembered as theirs.
_MOST_PLACES = 20
_BE_AT = text(
    "INSERT INTO sign_in_places (user_id, network, last_us) VALUES (:user_id, :network, :now) "
    "ON CONFLICT (user_id, network) DO UPDATE SET last_us = excluded.last_us"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """From where somebody would sign in."""

    name: str
    known: bool  # whether that user has signed in there before


class Sessions:
    """Everybody's sessions; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog) -> None:
        self._engine = engine
        self._audit = audit

    def open(self, user: str, *, at: datetime, by: Actor, instead_of: str | None = None) -> str:
        """A new session; gives its token, which lies nowhere. instead_of: the token of one that ends now, if any."""
        token = secrets.token_urlsafe(32)
        now = to_us(at)
        row = {"token_hash": _kept(token), "user_id": user, "made_us": now, "seen_us": now}
        with write_transaction(self._engine) as connection:
            over = _over(at) if instead_of is None else or_(_over(at), sessions.c.token_hash == _kept(instead_of))
            connection.execute(delete(sessions).where(over))
            connection.execute(sessions.insert().values(**row, ends_us=to_us(at + LONGEST)))
            self._audit.append(connection, AuditEvent(by=by, action="session.open", object=f"user:{user}"), at=at)
        return token

    def find(self, token: str, *, at: datetime) -> Principal:
        """Whoever signed in with this token, with the role of now; being seen keeps it from idling. Raises AuthenticationError."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(
                select(sessions.c.seen_us, users.c.id, users.c.name, users.c.role)
                .join(users, users.c.id == sessions.c.user_id)
                .where(sessions.c.token_hash == _kept(token), users.c.disabled_us.is_(None), ~_over(at))
            ).first()
            if row is None:
                raise AuthenticationError
            theirs = grants_by_user(connection, [row.id]).get(row.id, {})
        if to_us(at - _NOTED_EVERY) > row.seen_us:
            self._note(token, at)
        return Principal(id=row.id, name=row.name, way=AuthMethod.SESSION, role=Role(row.role) if row.role else None, grants=theirs)

    def close(self, token: str, *, at: datetime, by: Actor) -> None:
        """End a session; one that is over already is no trouble."""
        with write_transaction(self._engine) as connection:
            found = connection.scalar(select(sessions.c.user_id).where(sessions.c.token_hash == _kept(token)))
            if found is not None:
                connection.execute(delete(sessions).where(sessions.c.token_hash == _kept(token)))
                self._audit.append(connection, AuditEvent(by=by, action="session.close", object=f"user:{found}"), at=at)

    def recognised(self, user: str) -> str:
        """What a browser keeps in which this user has signed in: it opens nothing, and only says that it was here before."""
        nonce = secrets.token_urlsafe(12)
        return f"{nonce}.{self._audit.mark(['browser', user, nonce])}"

    def desk(self, user: str | None, kept: str | None, address: str) -> Desk:
        """Where somebody sits who would sign in as this user: an address, or the browser that kept what `recognised` gave it."""
        nonce, _, mark = (kept or "").partition(".")
        if user is not None and hmac.compare_digest(self._audit.mark(["browser", user, nonce]).encode(), mark.encode()):
            return Desk(name=f"browser {nonce}", known=True)
        network = strip_unstorable(network_of(address))[:_MOST_DESK]
        mine = (sign_in_places.c.user_id == (user or "")) & (sign_in_places.c.network == network)
        with read_transaction(self._engine) as connection:
            return Desk(name=network, known=connection.execute(select(sign_in_places.c.network).where(mine)).first() is not None)

    def was_at(self, user: str, address: str, *, at: datetime) -> None:
        """This user has just signed in from there; the last few such places are theirs."""
        network = strip_unstorable(network_of(address))[:_MOST_DESK]
        here = sign_in_places.c
        with write_transaction(self._engine) as connection:
            connection.execute(_BE_AT, {"user_id": user, "network": network, "now": to_us(at)})
            newest = select(here.network).where(here.user_id == user).order_by(here.last_us.desc()).limit(_MOST_PLACES)
            connection.execute(delete(sign_in_places).where(here.user_id == user, here.network.not_in(newest)))

    def places(self) -> frozenset[str]:
        """Every network from which anybody has signed in, of the last few of each."""
        with read_transaction(self._engine) as connection:
            return frozenset(connection.scalars(select(sign_in_places.c.network).distinct()))

    def try_password(self, name: str, desk: Desk, *, at: datetime) -> None:
        """Note a try as a wrong one, for the time being. Raises LoginThrottledError, and then it was not noted."""
        now = to_us(at)
        pair = _pair(name, desk.name)
        with write_transaction(self._engine) as connection:
            connection.execute(delete(sign_in_failures).where(sign_in_failures.c.at_us <= now - WINDOW_S * 1_000_000))
            tries = connection.scalars(select(sign_in_failures.c.at_us).where(_of(pair))).all()
            wait = login_delay_s(tries, now)
            if not wait and not desk.known:
                of_name = select(func.count(), func.max(sign_in_failures.c.at_us)).where(sign_in_failures.c.name_hash == pair[0])
                count, last = connection.execute(of_name).one()
                wait = name_wait_s(count, last, now)
            if wait:
                raise LoginThrottledError(retry_after=wait)
            connection.execute(sign_in_failures.insert().values(name_hash=pair[0], address=pair[1], at_us=now))

    def forget_tries(self, name: str, desk: Desk) -> None:
        """It was the right password after all."""
        with write_transaction(self._engine) as connection:
            connection.execute(delete(sign_in_failures).where(_of(_pair(name, desk.name))))

    def count(self, user: str, *, at: datetime) -> int:
        """How many sessions a user has now."""
        with read_transaction(self._engine) as connection:
            query = select(func.count()).select_from(sessions).where(sessions.c.user_id == user, ~_over(at))
            return connection.scalar(query) or 0

    def _note(self, token: str, at: datetime) -> None:
        with write_transaction(self._engine) as connection:
            seen = update(sessions).where(sessions.c.token_hash == _kept(token)).values(seen_us=to_us(at))
            connection.execute(seen)


def _kept(token: str) -> str:
    """What stands for a token in the table. It is 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _over(at: datetime) -> ColumnElement[bool]:
    return or_(sessions.c.ends_us <= to_us(at), sessions.c.seen_us <= to_us(at - IDLE))


def _pair(name: str, desk: str) -> tuple[str, str]:
    # The name is kept as its hash: people type passwords there by mistake.
    return hashlib.sha256(name_key(name).encode()).hexdigest(), strip_unstorable(desk)[:_MOST_DESK]


def _of(pair: tuple[str, str]) -> ColumnElement[bool]:
    return (sign_in_failures.c.name_hash == pair[0]) & (sign_in_failures.c.address == pair[1])
