"""Users, their permissions, sessions, API keys and logins. Contains no secrets, only hashes of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKeyConstraint, Index, Integer, Table, Text

from relevo.store.db.tables.base import Serial, metadata

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),  # 32 hex digits; used by the audit, because names change
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text),  # for all models; NULL: only grants apply
    Column("password_hash", Text),  # argon2id; NULL: logs in through OIDC
    Column("issuer", Text),  # OpenID Connect issuer, with `subject`
    Column("subject", Text),
    Column("made_us", BigInteger, nullable=False),
    Column("disabled_us", BigInteger),
    Column("name_key", Text),  # equal for names that count as the same
)
Index("uq_users_name_key", users.c.name_key, unique=True)
Index("uq_users_issuer_subject", users.c.issuer, users.c.subject, unique=True)

grants = Table(
    "grants",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("role", Text, nullable=False),
    ForeignKeyConstraint(["user_id"], ["users.id"]),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),  # SHA-256 of the cookie
    Column("user_id", Text, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["user_id"], ["users.id"]),
)
Index(None, sessions.c.user_id)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),  # the public prefix of the key
    Column("user_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False, unique=True),  # SHA-256 of the whole key
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("model", Text),  # NULL: all models of its owner
    Column("made_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger),
    Column("revoked_us", BigInteger),
    ForeignKeyConstraint(["user_id"], ["users.id"]),
)
Index(None, api_keys.c.user_id)

#: One row; its number increases with every change to users, grants and keys, so that workers detect changes.
access_revision = Table(
    "access_revision",
    metadata,
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)

sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    Column("serial", Serial, primary_key=True),
    Column("name_hash", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
Index(None, sign_in_failures.c.name_hash, sign_in_failures.c.at_us)
Index(None, sign_in_failures.c.address, sign_in_failures.c.at_us)

#: Open logins at an identity provider; both hashes are SHA-256.
oidc_login_attempts = Table(
    "oidc_login_attempts",
    metadata,
    Column("state_hash", Text, primary_key=True),  # of the state that the provider returns
    Column("tie_hash", Text, nullable=False),  # of the browser's cookie
    Column("address", Text, nullable=False),
    Column("back", Text, nullable=False),  # page to return to
    Column("begun_us", BigInteger, nullable=False),
)
Index(None, oidc_login_attempts.c.address)
Index(None, oidc_login_attempts.c.begun_us)

#: One-time login codes for consoles.
login_codes = Table(
    "login_codes",
    metadata,
    Column("code_hash", Text, primary_key=True),  # SHA-256 of the code
    Column("user_id", Text, nullable=False),
    Column("console", Text, nullable=False),  # its URL
    Column("challenge", Text, nullable=False),
    Column("issued_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["user_id"], ["users.id"]),
)
Index(None, login_codes.c.issued_us)

#: Failed logins, aggregated by hour; above a maximum number of rows the oldest are deleted.
sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    Column("serial", Serial, primary_key=True),
    Column("user_id", Text, nullable=False),  # "" for an unknown name
    Column("name_mark", Text, nullable=False),  # keyed digest of an unknown name
    Column("address", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hour", Text, nullable=False),  # hours since 1970, UTC
    Column("tries", BigInteger, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
)
_GROUP = (sign_in_attempts.c[name] for name in ("address", "user_id", "name_mark", "reason", "hour"))
Index("uq_sign_in_attempts_alike", *_GROUP, unique=True)

#: Networks from which a user has logged in; the most recent are kept.
sign_in_places = Table(
    "sign_in_places",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("network", Text, primary_key=True),  # an IPv4 address, or 64 bits of an IPv6 one
    Column("last_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["user_id"], ["users.id"]),
)
