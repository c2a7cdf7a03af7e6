"""Compares users, keys, versions and aliases in the database with the audit log, to find changes made by SQL.

read_state(engine) ─► State: object → description, and the last entry at that moment ─┐
entries ─ Replay.step, one by one ─► object → description ────────────────────────────┴─ differences ─► a message for each

    user:ID                    role and grants, disabled              key:ID                     owner, scopes, model, revoked
    model:NAME/version:N       digest                                 model:NAME/alias:NAME      version, and number of moves

Names, external identities, hashes of passwords and keys, ends of keys and all columns of alias moves are recorded as signatures:
digests that require the audit's key. An entry without a signature is not compared.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from relevo.domain.access import Role
from relevo.domain.audit import marks_of, without_marks
from relevo.store.auth.api_keys import describe_key, signed_key_fields
from relevo.store.auth.grants import grants_by_user
from relevo.store.auth.user_names import signed_user_fields
from relevo.store.auth.users import describe_user
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import alias_moves, api_keys, audit, users, versions
from relevo.store.registry import describe_version, signed_move_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine

    from relevo.store.audit.reader import AuditEntry

_DISABLED, _REVOKED = "; switched off", "; revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Content of the database at one moment."""

    last: int  # sequence of the last entry at that moment
    things: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, list[object]] = field(default_factory=dict)  # signed data by object, also of each move


def read_state(engine: Engine) -> State:
    """Reads the current state. Raises DatabaseUnavailableError."""
    with read_transaction(engine) as connection:
        if connection.dialect.name == "postgresql":
            # One snapshot for all queries; otherwise a change between two of them would look like a change by SQL.
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        last = connection.scalar(select(func.max(audit.c.sequence))) or 0
        descriptions = dict(
            chain.from_iterable(
                read(connection) for read in (_user_descriptions, _key_descriptions, _version_descriptions, _alias_descriptions)
            )
        )
        signed_fields = dict(_signed_fields(connection))
    return State(last=last, things=descriptions, facts=signed_fields)


def _signed_fields(connection: Connection) -> Iterator[tuple[str, list[object]]]:
    yield from ((f"user:{row.id}", signed_user_fields(row)) for row in connection.execute(select(users)))
    yield from ((f"key:{row.id}", signed_key_fields(row)) for row in connection.execute(select(api_keys)))
    counts: dict[str, int] = {}
    for row in connection.execute(select(alias_moves).order_by(alias_moves.c.move)):
        alias = f"model:{row.model}/alias:{row.alias}"
        counts[alias] = counts.get(alias, 0) + 1
        yield _move_name(alias, counts[alias]), signed_move_fields(row)


def _move_name(alias: str, count: int) -> str:
    return f"{alias}/move:{count}"


def _user_descriptions(connection: Connection) -> Iterator[tuple[str, str]]:
    grants = grants_by_user(connection)
    for row in connection.execute(select(users.c.id, users.c.role, users.c.disabled_us)):
        description = describe_user(Role(row.role) if row.role in set(Role) else None, grants.get(row.id, {}))
        yield f"user:{row.id}", description + (_DISABLED if row.disabled_us is not None else "")


def _key_descriptions(connection: Connection) -> Iterator[tuple[str, str]]:
    for row in connection.execute(select(api_keys)):
        description = describe_key(row.user_id, row.scopes.split(), row.model)
        yield f"key:{row.id}", description + (_REVOKED if row.revoked_us is not None else "")


def _version_descriptions(connection: Connection) -> Iterator[tuple[str, str]]:
    for row in connection.execute(select(versions)):
        yield f"model:{row.model}/version:{row.number}", describe_version(row.digest, row.summary)


def _alias_descriptions(connection: Connection) -> Iterator[tuple[str, str]]:
    last_moves: dict[str, tuple[int, int]] = {}
    for row in connection.execute(select(alias_moves).order_by(alias_moves.c.move)):
        alias = f"model:{row.model}/alias:{row.alias}"
        last_moves[alias] = (row.version, last_moves.get(alias, (0, 0))[1] + 1)
    for alias, (version, count) in last_moves.items():
        yield alias, _alias_description(str(version), count)


def _alias_description(version: str, count: int) -> str:
    return f"{version} (move {count})"


class Replay:
    """State according to the entries read so far. Lifetime: one verification."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._descriptions: dict[str, str] = {}
        self._move_counts: dict[str, int] = {}
        self._signatures: dict[str, str] = {}

    def step(self, entry: AuditEntry) -> None:
        """Applies the next entry. Entries appended after the state was read are ignored."""
        object_name, after = entry.object, without_marks(entry.after)
        if entry.sequence > self._state.last:
            return
        match entry.action:
            case "user.add" | "user.role":
                self._descriptions[object_name] = after
            case "user.disable":
                self._descriptions[object_name] = self._descriptions.get(object_name, "") + _DISABLED
            case "user.enable":
                self._descriptions[object_name] = self._descriptions.get(object_name, "").removesuffix(_DISABLED)
            case "key.add" | "version.add":
                self._descriptions[object_name] = after
            case "key.rotate":
                self._descriptions[after] = self._descriptions.get(object_name, "").removesuffix(_REVOKED)
            case "key.revoke":
                self._descriptions[object_name] = self._descriptions.get(object_name, "") + _REVOKED
            case "alias.move":
                self._move_counts[object_name] = self._move_counts.get(object_name, 0) + 1
                self._descriptions[object_name] = _alias_description(after, self._move_counts[object_name])
                object_name = _move_name(object_name, self._move_counts[object_name])
            case _:
                pass
        # The entry of a key rotation contains two signatures: of the new key, then of the old one.
        self._signatures |= zip(
            (after, object_name) if entry.action == "key.rotate" else (object_name,), marks_of(entry.after), strict=False
        )

    def differences(self, sign: Callable[[object], str]) -> Iterator[str]:
        """Yields a message for each object that differs. sign: computes a signature as the entries contain it."""
        yield from self._differing_descriptions()
        for object_name, signature in sorted(self._signatures.items()):
            fields = self._state.facts.get(object_name)
            if fields is not None and not hmac.compare_digest(sign(fields), signature):
                yield _signature_message(object_name)

    def _differing_descriptions(self) -> Iterator[str]:
        stored, recorded = self._state.things, self._descriptions
        for object_name in sorted(stored.keys() | recorded.keys()):
            current, expected = stored.get(object_name), recorded.get(object_name)
            if expected is None:
                yield f"{object_name} is in the database as '{current}', and no entry tells of it"
            elif current is None:
                yield f"{object_name} is gone from the database; by the entries it is '{expected}'"
            elif current != expected:
                yield f"{object_name} is '{current}' in the database, and '{expected}' by the entries"


def _signature_message(object_name: str) -> str:
    if object_name.startswith("user:"):
        return f"{object_name} has another name, account or password than by the entries"
    if object_name.startswith("key:"):
        return f"{object_name} has another name, end or secret than by the entries"
    return f"{object_name} has another author, reason or moment than by the entries"
