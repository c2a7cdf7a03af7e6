"""Login through OpenID Connect: login attempts at the identity provider, and the mapping of external identities to users.

    begin(attempt) ─► provider ─► callback: take(state, tie) ─ known, same browser, in time, first use ─► return address   else None
    add(identity, names) ─► a new user with this external identity, found by Users.identified from then on
    link(user, identity) ─► sets the external identity of an existing user

An external identity is the issuer and its subject, both compared exactly. Names and mail addresses do not identify a user: another
account may have the same.
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
from relevo.store.auth.user_names import check_name_free, user_signature
from relevo.store.db.engine import write_transaction
from relevo.store.db.tables import oidc_login_attempts, sessions, users
from relevo.store.db.text import strip_unstorable
from relevo.util.addresses import network_of
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine

    from relevo.domain.access import Role
    from relevo.store.audit.log import AuditLog

#: Maximum time for a login at the provider.
LOGIN_TTL = timedelta(minutes=10)
#: Open login attempts of one address; a further one replaces the oldest.
_MAX_PER_ADDRESS = 20
_MAX_ADDRESS_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentity:
    """Identity at an OIDC provider."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAttempt:
    """One login redirect and its callback."""

    state: str  # returned by the provider in the callback
    browser_secret: str  # browser secret, kept in a cookie
    return_to: str  # page to return to
    address: str = ""


class OidcLogins:
    """Attempts and external identities. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog, *, next_epoch: Callable[[Connection], None]) -> None:
        """next_epoch: increases the epoch of users and keys, within the transaction."""
        self._engine = engine
        self._audit = audit
        self._next_epoch = next_epoch

    def start(self, attempt: LoginAttempt, *, at: datetime) -> None:
        """Stores a login attempt; the table contains only hashes of state and browser secret."""
        address = strip_unstorable(network_of(attempt.address))[:_MAX_ADDRESS_CHARS]
        row = {
            "state_hash": _secret_hash(attempt.state),
            "tie_hash": _secret_hash(attempt.browser_secret),
            "address": address,
            "back": attempt.return_to,
        }
        columns = oidc_login_attempts.c
        with write_transaction(self._engine) as connection:
            connection.execute(delete(oidc_login_attempts).where(columns.begun_us <= to_us(at - LOGIN_TTL)))
            newest = (
                select(columns.state_hash)
                .where(columns.address == address)
                .order_by(columns.begun_us.desc())
                .limit(_MAX_PER_ADDRESS - 1)
            )
            surplus = delete(oidc_login_attempts).where(columns.address == address, columns.state_hash.not_in(newest))
            connection.execute(surplus)
            connection.execute(oidc_login_attempts.insert().values(**row, begun_us=to_us(at)))

    def finish(self, state: str, browser_secret: str, *, at: datetime) -> str | None:
        """Returns where a returning browser was going; None for another browser or an expired attempt. Deletes the attempt."""
        columns = oidc_login_attempts.c
        same_browser = (columns.state_hash == _secret_hash(state)) & (columns.tie_hash == _secret_hash(browser_secret))
        with write_transaction(self._engine) as connection:
            back: str | None = connection.scalar(
                delete(oidc_login_attempts).where(same_browser, columns.begun_us > to_us(at - LOGIN_TTL)).returning(columns.back)
            )
        return back

    def create_user(self, account: ExternalIdentity, names: Iterable[str], role: Role, *, at: datetime, by: Actor) -> str:
        """Adds a user with this identity, under the first free name, and returns the id; returns an existing user of this identity.

        Raises NameTakenError, and LastAdminError while there is no user: the first one must be able to add others.
        """
        user = uuid4().hex
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            # Race: two browsers of one person may return at once. The lock on the epoch's row lets one wait for the other.
            existing: str | None = connection.scalar(select(users.c.id).where(_has_identity(account)))
            if existing is not None:
                return existing
            if not connection.scalar(select(func.count()).select_from(users)):
                raise LastAdminError
            name = _free_name(connection, names)
            row = {
                "id": user,
                "name": name,
                "name_key": name_key(name),
                "role": role,
                "issuer": account.issuer,
                "subject": account.subject,
            }
            connection.execute(users.insert().values(**row, made_us=to_us(at)))
            after = with_marks(role.value, user_signature(connection, self._audit, user))
            event = AuditEvent(by=by, action="user.add", object=f"user:{user}", after=after, reason="signed in elsewhere")
            self._audit.append(connection, event, at=at)
        return user

    def link_user(self, user: str, account: ExternalIdentity, *, at: datetime, by: Actor = LOCAL_ACTOR) -> None:
        """Replaces this user's external identity and ends their sessions. Raises UserNotFoundError, IdentityTakenError."""
        values = {"issuer": account.issuer, "subject": account.subject}
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            if connection.scalar(select(users.c.id).where(_has_identity(account), users.c.id != user)):
                raise IdentityTakenError
            if not connection.execute(update(users).where(users.c.id == user).values(values)).rowcount:
                raise UserNotFoundError
            connection.execute(delete(sessions).where(sessions.c.user_id == user))
            after = with_marks("", user_signature(connection, self._audit, user))
            self._audit.append(connection, AuditEvent(by=by, action="user.link", object=f"user:{user}", after=after), at=at)


def _has_identity(account: ExternalIdentity) -> ColumnElement[bool]:
    return (users.c.issuer == account.issuer) & (users.c.subject == account.subject)


def _free_name(connection: Connection, names: Iterable[str]) -> str:
    for name in names:
        with suppress(NameTakenError):
            check_name_free(connection, name)
            return name
    raise NameTakenError


def _secret_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
