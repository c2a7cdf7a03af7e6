"""Users who sign in elsewhere: journeys to an identity provider and back, and which account there is whose here.

    begin(journey) ─► out ─► back: take(state, tie) ─ known, of this browser, in time, the first time ─► Journey   else None
    add(account, names) ─► a new user who signs in there; People.identified finds them from then on
    link(user, account) ─► from now on that account is theirs

An account is its issuer and the subject that the issuer gives it, both exactly as told; a name or an address of mail may be
anybody's.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import delete, func, select, update

from relevo.domain.audit import LOCAL_ACTOR, Actor, AuditEvent, with_marks
from relevo.domain.names import name_key
from relevo.errors import IdentityTakenError, LastAdminError, NameTakenError, UserNotFoundError
from relevo.store.auth.user_names import mark_of_user, refuse_taken
from relevo.store.db.engine import write_transaction
from relevo.store.db.tables import sessions, sign_in_journeys, users
from relevo.store.db.text import strip_unstorable
from relevo.util.addresses import network_of
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine

    from relevo.domain.access import Role
    from relevo.store.audit.log import AuditLog

#: How long somebody may take to sign in there.
LOGIN_TTL = timedelta(minutes=10)
#: Journeys of one address at a time; the next one takes the place of its oldest.
_MOST_OF_ONE = 20
_MOST_ADDRESS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentity:
    """Who somebody is elsewhere."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAttempt:
    """One way to the provider and back."""

    state: str  # comes back with whoever went
    tie: str  # stays in their browser
    back: str  # where they were going here
    address: str = ""


class OidcLogins:
    """Accounts and journeys; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog, *, next_epoch: Callable[[Connection], None]) -> None:
        """next_epoch: tells every worker that people changed, in the transaction of the change."""
        self._engine = engine
        self._audit = audit
        self._next_epoch = next_epoch

    def begin(self, journey: LoginAttempt, *, at: datetime) -> None:
        """Remember who goes; of what is kept nobody can make a state or a tie."""
        address = strip_unstorable(network_of(journey.address))[:_MOST_ADDRESS]
        row = {"state_hash": _kept(journey.state), "tie_hash": _kept(journey.tie), "address": address, "back": journey.back}
        here = sign_in_journeys.c
        with write_transaction(self._engine) as connection:
            connection.execute(delete(sign_in_journeys).where(here.begun_us <= to_us(at - LOGIN_TTL)))
            newest = select(here.state_hash).where(here.address == address).order_by(here.begun_us.desc()).limit(_MOST_OF_ONE - 1)
            old = delete(sign_in_journeys).where(here.address == address, here.state_hash.not_in(newest))
            connection.execute(old)
            connection.execute(sign_in_journeys.insert().values(**row, begun_us=to_us(at)))

    def take(self, state: str, tie: str, *, at: datetime) -> str | None:
        """Where whoever comes back was going; None unless they left from that browser, in time. It is taken once."""
        here = sign_in_journeys.c
        mine = (here.state_hash == _kept(state)) & (here.tie_hash == _kept(tie))
        with write_transaction(self._engine) as connection:
            back: str | None = connection.scalar(
                delete(sign_in_journeys).where(mine, here.begun_us > to_us(at - LOGIN_TTL)).returning(here.back)
            )
        return back

    def add(self, account: ExternalIdentity, names: Iterable[str], role: Role, *, at: datetime, by: Actor) -> str:
        """A new user of this account, by the first name that nobody has; gives the id, of an earlier one too.

        Raises NameTakenError, and LastAdminError where nobody is a user yet: the first must be one who can make others.
        """
        user = uuid4().hex
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            # Race: two of one person's browsers come back at once. The row of the epoch lets one wait for the other.
            found: str | None = connection.scalar(select(users.c.id).where(_of(account)))
            if found is not None:
                return found
            if not connection.scalar(select(func.count()).select_from(users)):
                raise LastAdminError
            name = _free(connection, names)
            row = {
                "id": user,
                "name": name,
                "name_key": name_key(name),
                "role": role,
                "issuer": account.issuer,
                "subject": account.subject,
            }
            connection.execute(users.insert().values(**row, made_us=to_us(at)))
            after = with_marks(role.value, mark_of_user(connection, self._audit, user))
            act = AuditEvent(by=by, action="user.add", object=f"user:{user}", after=after, reason="signed in elsewhere")
            self._audit.append(connection, act, at=at)
        return user

    def link(self, user: str, account: ExternalIdentity, *, at: datetime, by: Actor = LOCAL_ACTOR) -> None:
        """That account is this user's from now on, and none other; their sessions end. Raises UserNotFoundError, IdentityTakenError."""
        values = {"issuer": account.issuer, "subject": account.subject}
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            if connection.scalar(select(users.c.id).where(_of(account), users.c.id != user)):
                raise IdentityTakenError
            if not connection.execute(update(users).where(users.c.id == user).values(values)).rowcount:
                raise UserNotFoundError
            connection.execute(delete(sessions).where(sessions.c.user_id == user))
            after = with_marks("", mark_of_user(connection, self._audit, user))
            self._audit.append(connection, AuditEvent(by=by, action="user.link", object=f"user:{user}", after=after), at=at)


def _of(account: ExternalIdentity) -> ColumnElement[bool]:
    return (users.c.issuer == account.issuer) & (users.c.subject == account.subject)


def _free(connection: Connection, names: Iterable[str]) -> str:
    for name in names:
        with suppress(NameTakenError):
            refuse_taken(connection, name)
            return name
    raise NameTakenError


def _kept(word: str) -> str:
    return hashlib.sha256(word.encode("utf-8", "replace")).hexdigest()
