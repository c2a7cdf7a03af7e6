"""Login sessions and failed password attempts, shared by every worker.

    open(user) ─► token, sent to the browser only ─ SHA-256 ─► sessions ─ find(token) ─► Principal with the user's current role
    try_password(name, desk) ─ too many failures? ─► LoginThrottledError   else recorded as failed until the password is verified

An attempt is recorded before the password is verified, so that concurrent attempts are all counted.
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
#: A session's last use is written at most this often, so that most requests only read.
_LAST_USE_INTERVAL = timedelta(minutes=1)
_MAX_SOURCE_CHARS = 64
#: Number of networks stored as known for each user.
_MAX_NETWORKS = 20
_UPSERT_NETWORK = text(
    "INSERT INTO sign_in_places (user_id, network, last_us) VALUES (:user_id, :network, :now) "
    "ON CONFLICT (user_id, network) DO UPDATE SET last_us = excluded.last_us"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Source of a login attempt, the key of the throttle."""

    name: str
    is_known: bool  # whether that user has logged in from there before


class Sessions:
    """Sessions of all users. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog) -> None:
        self._engine = engine
        self._audit = audit

    def open(self, user: str, *, at: datetime, by: Actor, instead_of: str | None = None) -> str:
        """Opens a session and returns its token, which is not stored. instead_of: token of a session that ends now."""
        token = secrets.token_urlsafe(32)
        now = to_us(at)
        row = {"token_hash": _token_hash(token), "user_id": user, "made_us": now, "seen_us": now}
        with write_transaction(self._engine) as connection:
            ended = _expired(at) if instead_of is None else or_(_expired(at), sessions.c.token_hash == _token_hash(instead_of))
            connection.execute(delete(sessions).where(ended))
            connection.execute(sessions.insert().values(**row, ends_us=to_us(at + LONGEST)))
            self._audit.append(connection, AuditEvent(by=by, action="session.open", object=f"user:{user}"), at=at)
        return token

    def find(self, token: str, *, at: datetime) -> Principal:
        """The user whom this token signed in, with their current role; updates the last use. Raises AuthenticationError."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(
                select(sessions.c.seen_us, users.c.id, users.c.name, users.c.role)
                .join(users, users.c.id == sessions.c.user_id)
                .where(sessions.c.token_hash == _token_hash(token), users.c.disabled_us.is_(None), ~_expired(at))
            ).first()
            if row is None:
                raise AuthenticationError
            user_grants = grants_by_user(connection, [row.id]).get(row.id, {})
        if to_us(at - _LAST_USE_INTERVAL) > row.seen_us:
            self._update_last_use(token, at)
        return Principal(
            id=row.id, name=row.name, auth_method=AuthMethod.SESSION, role=Role(row.role) if row.role else None, grants=user_grants
        )

    def close(self, token: str, *, at: datetime, by: Actor) -> None:
        """Ends a session, if it exists."""
        with write_transaction(self._engine) as connection:
            user = connection.scalar(select(sessions.c.user_id).where(sessions.c.token_hash == _token_hash(token)))
            if user is not None:
                connection.execute(delete(sessions).where(sessions.c.token_hash == _token_hash(token)))
                self._audit.append(connection, AuditEvent(by=by, action="session.close", object=f"user:{user}"), at=at)

    def device_token(self, user: str) -> str:
        """Returns a device token for a browser in which this user has logged in. It grants no access; it only identifies the browser."""
        nonce = secrets.token_urlsafe(12)
        return f"{nonce}.{self._audit.pseudonymize(['browser', user, nonce])}"

    def throttle_key(self, user: str | None, device_token: str | None, address: str) -> Desk:
        """Returns the source of an attempt to log in as this user: the browser, if it sent a valid device token, else the network.

        device_token: as issued by `recognised`.
        """
        nonce, _, signature = (device_token or "").partition(".")
        if user is not None and hmac.compare_digest(
            self._audit.pseudonymize(["browser", user, nonce]).encode(), signature.encode()
        ):
            return Desk(name=f"browser {nonce}", is_known=True)
        network = strip_unstorable(network_of(address))[:_MAX_SOURCE_CHARS]
        known_network = (sign_in_places.c.user_id == (user or "")) & (sign_in_places.c.network == network)
        with read_transaction(self._engine) as connection:
            return Desk(
                name=network, is_known=connection.execute(select(sign_in_places.c.network).where(known_network)).first() is not None
            )

    def record_address(self, user: str, address: str, *, at: datetime) -> None:
        """Stores that this user has just logged in from this address; the most recent networks are kept."""
        network = strip_unstorable(network_of(address))[:_MAX_SOURCE_CHARS]
        columns = sign_in_places.c
        with write_transaction(self._engine) as connection:
            connection.execute(_UPSERT_NETWORK, {"user_id": user, "network": network, "now": to_us(at)})
            newest = select(columns.network).where(columns.user_id == user).order_by(columns.last_us.desc()).limit(_MAX_NETWORKS)
            connection.execute(delete(sign_in_places).where(columns.user_id == user, columns.network.not_in(newest)))

    def known_addresses(self) -> frozenset[str]:
        """Returns the networks from which any user has recently logged in."""
        with read_transaction(self._engine) as connection:
            return frozenset(connection.scalars(select(sign_in_places.c.network).distinct()))

    def register_attempt(self, name: str, key: Desk, *, at: datetime) -> None:
        """Records an attempt as failed. Raises LoginThrottledError, and then the attempt was not recorded."""
        now = to_us(at)
        pair = _throttle_pair(name, key.name)
        with write_transaction(self._engine) as connection:
            connection.execute(delete(sign_in_failures).where(sign_in_failures.c.at_us <= now - WINDOW_S * 1_000_000))
            failures = connection.scalars(select(sign_in_failures.c.at_us).where(_matches_pair(pair))).all()
            wait = login_delay_s(failures, now)
            if not wait and not key.is_known:
                name_failures = select(func.count(), func.max(sign_in_failures.c.at_us)).where(
                    sign_in_failures.c.name_hash == pair[0]
                )
                count, last_us = connection.execute(name_failures).one()
                wait = name_wait_s(count, last_us, now)
            if wait:
                raise LoginThrottledError(retry_after=wait)
            connection.execute(sign_in_failures.insert().values(name_hash=pair[0], address=pair[1], at_us=now))

    def reset_attempts(self, name: str, key: Desk) -> None:
        """Deletes the failed attempts after a successful login."""
        with write_transaction(self._engine) as connection:
            connection.execute(delete(sign_in_failures).where(_matches_pair(_throttle_pair(name, key.name))))

    def count(self, user: str, *, at: datetime) -> int:
        """Returns how many sessions a user has at this time."""
        with read_transaction(self._engine) as connection:
            query = select(func.count()).select_from(sessions).where(sessions.c.user_id == user, ~_expired(at))
            return connection.scalar(query) or 0

    def _update_last_use(self, token: str, at: datetime) -> None:
        with write_transaction(self._engine) as connection:
            query = update(sessions).where(sessions.c.token_hash == _token_hash(token)).values(seen_us=to_us(at))
            connection.execute(query)


def _token_hash(token: str) -> str:
    """Returns the stored hash of a token. A token is 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _expired(at: datetime) -> ColumnElement[bool]:
    return or_(sessions.c.ends_us <= to_us(at), sessions.c.seen_us <= to_us(at - IDLE))


def _throttle_pair(name: str, source: str) -> tuple[str, str]:
    # The name is stored as a hash: users type passwords into the name field by mistake.
    return hashlib.sha256(name_key(name).encode()).hexdigest(), strip_unstorable(source)[:_MAX_SOURCE_CHARS]


def _matches_pair(pair: tuple[str, str]) -> ColumnElement[bool]:
    return (sign_in_failures.c.name_hash == pair[0]) & (sign_in_failures.c.address == pair[1])
