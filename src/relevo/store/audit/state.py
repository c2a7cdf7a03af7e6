"""What the database says of users, keys, versions and aliases, beside what the audit says of them: a change by SQL is in one alone.

read_state(engine) ─► State: thing → words, and the last link of that moment ─┐
links ─ Replay.step, one by one ─► thing → words ─────────────────────────────┴─ differences ─► a sentence for each

    user:ID                    role and grants, switched off          key:ID                     owner, scopes, model, revoked
    model:NAME/version:N       digest                                 model:NAME/alias:NAME      version, and how often it was moved

Of names, accounts, hashes of passwords and keys, ends of keys, and of all that a move of an alias says, the entries keep marks:
digests that only the audit's key makes. An entry of an earlier release has none, and nothing is compared with it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from relevo.domain.access import Role
from relevo.domain.audit import marks_of, without_marks
from relevo.store.auth.api_keys import facts_of_key, words_of_key
from relevo.store.auth.grants import grants_by_user
from relevo.store.auth.user_names import facts_of_user
from relevo.store.auth.users import words_of_user
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import alias_moves, api_keys, audit, users, versions
from relevo.store.registry import facts_of_move, words_of_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine

    from relevo.store.audit.reader import AuditEntry

_OFF, _REVOKED = "; switched off", "; revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the database says at one moment."""

    last: int  # sequence of the last link of that moment
    things: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, list[object]] = field(default_factory=dict)  # what marks are made of, by thing; of each move, too


def read_state(engine: Engine) -> State:
    """The state of now. Raises DatabaseUnavailableError."""
    with read_transaction(engine) as connection:
        if connection.dialect.name == "postgresql":
            # All that follows is of one moment; else a change between two queries would look like one behind the audit's back.
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        last = connection.scalar(select(func.max(audit.c.sequence))) or 0
        things = dict(chain.from_iterable(read(connection) for read in (_users, _keys, _versions, _aliases)))
        facts = dict(_facts(connection))
    return State(last=last, things=things, facts=facts)


def _facts(connection: Connection) -> Iterator[tuple[str, list[object]]]:
    yield from ((f"user:{row.id}", facts_of_user(row)) for row in connection.execute(select(users)))
    yield from ((f"key:{row.id}", facts_of_key(row)) for row in connection.execute(select(api_keys)))
    counts: dict[str, int] = {}
    for row in connection.execute(select(alias_moves).order_by(alias_moves.c.move)):
        thing = f"model:{row.model}/alias:{row.alias}"
        counts[thing] = counts.get(thing, 0) + 1
        yield _move(thing, counts[thing]), facts_of_move(row)


def _move(thing: str, count: int) -> str:
    return f"{thing}/move:{count}"


def _users(connection: Connection) -> Iterator[tuple[str, str]]:
    grants = grants_by_user(connection)
    for row in connection.execute(select(users.c.id, users.c.role, users.c.disabled_us)):
        words = words_of_user(Role(row.role) if row.role in set(Role) else None, grants.get(row.id, {}))
        yield f"user:{row.id}", words + (_OFF if row.disabled_us is not None else "")


def _keys(connection: Connection) -> Iterator[tuple[str, str]]:
    for row in connection.execute(select(api_keys)):
        words = words_of_key(row.user_id, row.scopes.split(), row.model)
        yield f"key:{row.id}", words + (_REVOKED if row.revoked_us is not None else "")


def _versions(connection: Connection) -> Iterator[tuple[str, str]]:
    for row in connection.execute(select(versions)):
        yield f"model:{row.model}/version:{row.number}", words_of_version(row.digest, row.summary)


def _aliases(connection: Connection) -> Iterator[tuple[str, str]]:
    moves: dict[str, tuple[int, int]] = {}
    for row in connection.execute(select(alias_moves).order_by(alias_moves.c.move)):
        thing = f"model:{row.model}/alias:{row.alias}"
        moves[thing] = (row.version, moves.get(thing, (0, 0))[1] + 1)
    for thing, (version, count) in moves.items():
        yield thing, _moved(str(version), count)


def _moved(version: str, count: int) -> str:
    return f"{version} (move {count})"


class Replay:
    """What the links say, up to where they were walked; lives as long as the walk."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._things: dict[str, str] = {}
        self._moves: dict[str, int] = {}
        self._marks: dict[str, str] = {}

    def step(self, link: AuditEntry) -> None:
        """Take the next link; what was appended after the state was read does not count."""
        thing, after = link.object, without_marks(link.after)
        if link.sequence > self._state.last:
            return
        match link.action:
            case "user.add" | "user.role":
                self._things[thing] = after
            case "user.disable":
                self._things[thing] = self._things.get(thing, "") + _OFF
            case "user.enable":
                self._things[thing] = self._things.get(thing, "").removesuffix(_OFF)
            case "key.add" | "version.add":
                self._things[thing] = after
            case "key.rotate":
                self._things[after] = self._things.get(thing, "").removesuffix(_REVOKED)
            case "key.revoke":
                self._things[thing] = self._things.get(thing, "") + _REVOKED
            case "alias.move":
                self._moves[thing] = self._moves.get(thing, 0) + 1
                self._things[thing] = _moved(after, self._moves[thing])
                thing = _move(thing, self._moves[thing])
            case _:
                pass
        # An entry of a change of keys marks the new one, too, ahead of the old one.
        self._marks |= zip((after, thing) if link.action == "key.rotate" else (thing,), marks_of(link.after), strict=False)

    def differences(self, mark: Callable[[object], str]) -> Iterator[str]:
        """A sentence for each thing of which the two say different things. mark: as the entries' marks were made."""
        yield from self._other_words()
        for thing, marked in sorted(self._marks.items()):
            facts = self._state.facts.get(thing)
            if facts is not None and not hmac.compare_digest(mark(facts), marked):
                yield _told_of_facts(thing)

    def _other_words(self) -> Iterator[str]:
        there, recorded = self._state.things, self._things
        for thing in sorted(there.keys() | recorded.keys()):
            now, then = there.get(thing), recorded.get(thing)
            if then is None:
                yield f"{thing} is in the database as '{now}', and no entry tells of it"
            elif now is None:
                yield f"{thing} is gone from the database; by the entries it is '{then}'"
            elif now != then:
                yield f"{thing} is '{now}' in the database, and '{then}' by the entries"


def _told_of_facts(thing: str) -> str:
    if thing.startswith("user:"):
        return f"{thing} has another name, account or password than by the entries"
    if thing.startswith("key:"):
        return f"{thing} has another name, end or secret than by the entries"
    return f"{thing} has another author, reason or moment than by the entries"
