"""Who may come in: users, what they may do where, their sessions and keys. No secret stands here, only what checks one."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKeyConstraint, Index, Integer, Table, Text

from relevo.store.db.tables.base import Serial, metadata

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),  # 32 hex digits; what the audit names, since names change
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text),  # everywhere; NULL: only by grants
    Column("password_hash", Text),  # argon2id; NULL: signs in elsewhere
    Column("issuer", Text),  # of OpenID Connect, with `subject`
    Column("subject", Text),
    Column("made_us", BigInteger, nullable=False),
    Column("disabled_us", BigInteger),
    Column("name_key", Text),  # equal for names that are one; NULL of a user whom an older release made
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
    Column("id", Text, primary_key=True),  # the readable beginning of the key itself
    Column("user_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False, unique=True),  # SHA-256 of the whole key
    Column("scopes", Text, nullable=False),  # with blanks between
    Column("model", Text),  # NULL: every model of its owner
    Column("made_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger),
    Column("revoked_us", BigInteger),
    ForeignKeyConstraint(["user_id"], ["users.id"]),
)
Index(None, api_keys.c.user_id)

#: One row; its number grows with every change to users, grants and keys, so that workers see one at a glance.
people_epoch = Table(
    "people_epoch",
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

#: Who went to sign in at an identity provider and has not come back; both hashes are SHA-256.
sign_in_journeys = Table(
    "sign_in_journeys",
    metadata,
    Column("state_hash", Text, primary_key=True),  # of what the provider hands back
    Column("tie_hash", Text, nullable=False),  # of the cookie in the browser that went
    Column("address", Text, nullable=False),
    Column("back", Text, nullable=False),  # where it was going here
    Column("begun_us", BigInteger, nullable=False),
)
Index(None, sign_in_journeys.c.address)
Index(None, sign_in_journeys.c.begun_us)

#: Who has signed in elsewhere and is being handed over to a console.
hand_overs = Table(
    "hand_overs",
    metadata,
    Column("code_hash", Text, primary_key=True),  # SHA-256 of what the browser carries there
    Column("user_id", Text, nullable=False),
    Column("console", Text, nullable=False),  # its address
    Column("challenge", Text, nullable=False),
    Column("issued_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["user_id"], ["users.id"]),
)
Index(None, hand_overs.c.issued_us)

#: Who was not let in, alike ones of an hour together; of more than so many rows the oldest are dropped.
sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    Column("serial", Serial, primary_key=True),
    Column("user_id", Text, nullable=False),  # "" for a name that nobody has
    Column("name_mark", Text, nullable=False),  # of such a name
    Column("address", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hour", Text, nullable=False),  # hours since 1970, UTC
    Column("tries", BigInteger, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
)
_ALIKE = (sign_in_attempts.c[name] for name in ("address", "user_id", "name_mark", "reason", "hour"))
Index("uq_sign_in_attempts_alike", *_ALIKE, unique=True)

#: From where a user has signed in; the last few are kept.
sign_in_places = Table(
    "sign_in_places",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("network", Text, primary_key=True),  # an IPv4 address, or 64 bits of an IPv6 one
    Column("last_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["user_id"], ["users.id"]),
)
