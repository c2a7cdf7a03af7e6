"""Which versions there are, which one each alias names, and who moved it there.

    add(model, digest, …) ─► Version n         the same digest again is the same version
    move_alias(…)         ─► AliasMove         append-only; where an alias stands is its last move
    routes()              ─► Route             what the workers follow: the champion, under the number of its last move

Every change locks the model's row first, so that two processes number versions and moves one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import and_, func, select, text

from relevo.domain.audit import LOCAL_ACTOR, Actor, AuditEvent, with_marks
from relevo.domain.prediction import Arm
from relevo.domain.routing import RouteTarget, TrafficSplit
from relevo.errors import AliasNotFoundError, ModelNotFoundError, PreconditionFailedError, VersionNotFoundError
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import alias_moves, models, versions
from relevo.store.db.text import is_version_number, strip_unstorable, validate_name
from relevo.util.timestamps import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine, Row, Select

    from relevo.store.audit.log import AuditLog

#: The alias whose version answers.
CHAMPION = "champion"
#: Both databases read it alike, while SQLAlchemy has a construct for each.
_KNOW = text("INSERT INTO models (name, at_us) VALUES (:name, :at_us) ON CONFLICT DO NOTHING")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A name with its versions."""

    name: str
    at: datetime  # of its first version, aware, UTC
    versions: int  # how many; the newest has this number
    aliases: dict[str, int]  # alias → version


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One package under a model's name; never changed after it was added, but for further synonyms."""

    model: str
    number: int  # 1, 2, …
    digest: str  # identity of the package
    summary: dict[str, Any]  # excerpts of the manifest: task, labels, input kind, metrics; and the synonyms
    who: str
    at: datetime  # aware, UTC

    @classmethod
    def from_row(cls, row: Row[Any]) -> Version:
        """The value of a row of `versions`."""
        return cls(
            model=row.model,
            number=row.number,
            digest=row.digest,
            summary=msgspec.json.decode(row.summary),
            who=row.who,
            at=from_us(row.at_us),
        )

    @property
    def synonyms(self) -> tuple[str, ...]:
        """What old clients call it, beside the synonyms in its package."""
        return tuple(self.summary.get("synonyms", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One step of an alias; never changed after it was made."""

    model: str
    alias: str
    serial: int  # 1, 2, … for this model and alias
    version: int
    previous: int | None  # where the alias stood before
    who: str
    why: str
    at: datetime  # aware, UTC
    move: int  # grows with every move of any alias

    @classmethod
    def from_row(cls, row: Row[Any]) -> AliasMove:
        """The value of a row of `alias_moves`."""
        return cls(
            model=row.model,
            alias=row.alias,
            serial=row.serial,
            version=row.version,
            previous=row.previous,
            who=row.who,
            why=row.why,
            at=from_us(row.at_us),
            move=row.move,
        )


class _Called(msgspec.Struct, frozen=True):
    """The part of a version's summary that tells what else it goes by."""

    synonyms: tuple[str, ...] = ()


class Registry:
    """Models, versions and aliases; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog) -> None:
        self._engine = engine
        self._audit = audit

    def add(
        self,
        *,
        model: str,
        digest: str,
        summary: dict[str, Any],
        who: str,
        at: datetime,
        synonyms: Sequence[str] = (),
        by: Actor = LOCAL_ACTOR,
    ) -> Version:
        """Register a package as the model's next version, or find the version it already is. Moves no alias.

        summary: JSON-able excerpts of the manifest. at: aware. Raises FieldTypeError for a name that cannot be one.
        synonyms: what old clients call it, kept in the summary; a version that is there already keeps its own, too.
        """
        validate_name(model, "model")
        at_us = to_us(at)
        with write_transaction(self._engine) as connection:
            connection.execute(_KNOW, {"name": model, "at_us": at_us})
            _lock(connection, model)
            known = connection.execute(select(versions).where(versions.c.model == model, versions.c.digest == digest)).first()
            if known is not None:
                return self._call_too(connection, known, synonyms, by=by, at=at)
            last = connection.scalar(select(func.max(versions.c.number)).where(versions.c.model == model)) or 0
            told = msgspec.json.encode(summary | ({"synonyms": sorted(synonyms)} if synonyms else {})).decode()
            row = {
                "model": model,
                "number": last + 1,
                "digest": digest,
                "summary": told,
                "who": strip_unstorable(who),
                "at_us": at_us,
            }
            connection.execute(versions.insert().values(row))
            after = words_of_version(digest, told)
            thing = f"model:{model}/version:{last + 1}"
            self._audit.append(connection, AuditEvent(by=by, action="version.add", object=thing, after=after), at=at)
        return self.version(model, last + 1)

    def _call_too(self, connection: Connection, row: Row[Any], synonyms: Sequence[str], *, by: Actor, at: datetime) -> Version:
        """Add what a version goes by to what it went by before."""
        version = Version.from_row(row)
        names = sorted({*version.synonyms, *synonyms})
        if names == list(version.synonyms):
            return version
        summary = version.summary | {"synonyms": names}
        text = msgspec.json.encode(summary).decode()
        here = and_(versions.c.model == version.model, versions.c.number == version.number)
        connection.execute(versions.update().where(here).values(summary=text))
        before, after = (words_of_version(version.digest, told) for told in (row.summary, text))
        thing = f"model:{version.model}/version:{version.number}"
        self._audit.append(connection, AuditEvent(by=by, action="version.add", object=thing, before=before, after=after), at=at)
        return replace(version, summary=summary)

    def models(self) -> list[Model]:
        """Every model, by name."""
        counted = select(versions.c.model, func.count().label("versions")).group_by(versions.c.model).subquery()
        query = select(models, counted.c.versions).join(counted, counted.c.model == models.c.name).order_by(models.c.name)
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
            moves = connection.execute(_last_moves()).all()
        aliases: dict[str, dict[str, int]] = {}
        for move in moves:
            aliases.setdefault(move.model, {})[move.alias] = move.version
        return [
            Model(name=row.name, at=from_us(row.at_us), versions=row.versions, aliases=aliases.get(row.name, {})) for row in rows
        ]

    def versions(self, model: str) -> list[Version]:
        """The model's versions, newest first. Raises ModelNotFoundError."""
        model = strip_unstorable(model)
        query = select(versions).where(versions.c.model == model).order_by(versions.c.number.desc())
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        if not rows:
            raise ModelNotFoundError(model=model)
        return [Version.from_row(row) for row in rows]

    def version(self, model: str, number: int) -> Version:
        """One version. Raises ModelNotFoundError, VersionNotFoundError."""
        model = strip_unstorable(model)
        with read_transaction(self._engine) as connection:
            row = _version_row(connection, model, number)
        return Version.from_row(row)

    def aliases(self, model: str) -> dict[str, int]:
        """Where each alias of the model stands. Raises ModelNotFoundError."""
        model = strip_unstorable(model)
        with read_transaction(self._engine) as connection:
            _must_exist(connection, model)
            rows = connection.execute(_last_moves().where(alias_moves.c.model == model)).all()
        return {row.alias: row.version for row in rows}

    def resolve(self, model: str, alias: str) -> Version:
        """The version an alias names. Raises ModelNotFoundError, AliasNotFoundError."""
        model, alias = strip_unstorable(model), strip_unstorable(alias)
        with read_transaction(self._engine) as connection:
            _must_exist(connection, model)
            last = _last_move(connection, model, alias)
            if last is None:
                raise AliasNotFoundError(model=model, alias=alias)
            row = _version_row(connection, model, last.version)
        return Version.from_row(row)

    def alias_history(self, model: str, *, before: int | None = None, limit: int | None = None) -> list[AliasMove]:
        """Moves of every alias of the model, newest first: those before that number, at most so many. Raises ModelNotFoundError."""
        model = strip_unstorable(model)
        query = select(alias_moves).where(alias_moves.c.model == model).order_by(alias_moves.c.move.desc()).limit(limit)
        if before is not None:
            query = query.where(alias_moves.c.move < before)
        with read_transaction(self._engine) as connection:
            _must_exist(connection, model)
            rows = connection.execute(query).all()
        return [AliasMove.from_row(row) for row in rows]

    def move_alias(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        who: str,
        why: str,
        at: datetime,
        expected: int | None = None,
        by: Actor = LOCAL_ACTOR,
    ) -> AliasMove:
        """Let the alias name another version. Where it already stands there, nothing changes and its last move is returned.

        expected: the version the caller believes it stands at, 0 for "not set yet", None for "whatever it is".
        Raises FieldTypeError for a name that cannot be one, ModelNotFoundError, VersionNotFoundError, PreconditionFailedError.
        """
        validate_name(alias, "alias")
        model = strip_unstorable(model)
        with write_transaction(self._engine) as connection:
            _lock(connection, model)
            _version_row(connection, model, version)
            last = _last_move(connection, model, alias)
            stands = 0 if last is None else last.version
            if expected is not None and stands != expected:
                raise PreconditionFailedError(reason=_standing(alias, stands))
            if last is not None and last.version == version:
                return AliasMove.from_row(last)
            connection.execute(
                alias_moves.insert().values(
                    model=model,
                    alias=alias,
                    serial=1 if last is None else last.serial + 1,
                    version=version,
                    previous=None if last is None else last.version,
                    who=strip_unstorable(who),
                    why=strip_unstorable(why),
                    at_us=to_us(at),
                )
            )
            made = _last_move(connection, model, alias)
            assert made is not None  # noqa: S101 - it was written above, in the same transaction
            mark = self._audit.mark(facts_of_move(made))
            self._audit.append(connection, _moved(by, made, with_marks(str(version), mark)), at=at)
        return AliasMove.from_row(made)

    def routes(self) -> list[TrafficSplit]:
        """One route for each model that has a champion, the model registered first ahead; its epoch counts the champion's moves."""
        moved = _last_moves().where(alias_moves.c.alias == CHAMPION).subquery()
        query = (
            select(moved.c.serial, *versions.c)
            .join(versions, and_(versions.c.model == moved.c.model, versions.c.number == moved.c.version))
            .join(models, models.c.name == moved.c.model)
            .order_by(models.c.at_us, moved.c.model)
        )
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        return [_route(row.serial, Version.from_row(row)) for row in rows]


def facts_of_move(row: Row[Any]) -> list[object]:
    """What the audit marks of a move: all of it, for who moved an alias may be a person's name."""
    return ["move", row.model, row.alias, row.serial, row.version, row.previous, row.who, row.why, row.at_us]


def _moved(by: Actor, move: Row[Any], after: str) -> AuditEvent:
    thing = f"model:{move.model}/alias:{move.alias}"
    return AuditEvent(by=by, action="alias.move", object=thing, before=str(move.previous or ""), after=after, reason=move.why)


def words_of_version(digest: str, summary: str) -> str:
    """What the audit says of a version: its package, and what else than by the package it goes by. summary: JSON."""
    try:
        synonyms = msgspec.json.decode(summary, type=_Called).synonyms
    except msgspec.MsgspecError:
        return f"{digest} with a damaged summary"
    return f"{digest} {msgspec.json.encode(synonyms).decode()}" if synonyms else digest


def _route(epoch: int, version: Version) -> TrafficSplit:
    leg = RouteTarget(version=version.number, digest=version.digest, arm=Arm.CHAMPION, weight=1.0)
    return TrafficSplit(model=version.model, epoch=epoch, legs=(leg,), salt=version.model, synonyms=version.synonyms)


def _standing(alias: str, version: int) -> str:
    return f"'{alias}' stands at version {version}" if version else f"'{alias}' is not set"


def _lock(connection: Connection, model: str) -> None:
    """Let nobody else change this model before the transaction ends; SQLite has the whole file locked already."""
    found = connection.execute(select(models.c.name).where(models.c.name == model).with_for_update()).first()
    if found is None:
        raise ModelNotFoundError(model=model)


def _must_exist(connection: Connection, model: str) -> None:
    if connection.execute(select(models.c.name).where(models.c.name == model)).first() is None:
        raise ModelNotFoundError(model=model)


def _version_row(connection: Connection, model: str, number: int) -> Row[Any]:
    query = select(versions).where(versions.c.model == model, versions.c.number == number)
    row = connection.execute(query).first() if is_version_number(number) else None
    if row is None:
        _must_exist(connection, model)
        raise VersionNotFoundError(model=model, version=number)
    return row


def _last_move(connection: Connection, model: str, alias: str) -> Row[Any] | None:
    return connection.execute(
        select(alias_moves)
        .where(alias_moves.c.model == model, alias_moves.c.alias == alias)
        .order_by(alias_moves.c.serial.desc())
        .limit(1)
    ).first()


def _last_moves() -> Select[Any]:
    """The last move of every alias of every model."""
    newest = select(func.max(alias_moves.c.move).label("move")).group_by(alias_moves.c.model, alias_moves.c.alias).subquery()
    return select(alias_moves).join(newest, newest.c.move == alias_moves.c.move)
