"""The model registry: models, their versions, and the aliases that point to versions.

    add(model, digest, …) ─► Version n         the same digest again is the same version
    move_alias(…)         ─► AliasMove         append-only; the last move of an alias is its current version
    routes()              ─► TrafficSplit      what the workers serve: the champion; its epoch is the serial of its last move

Every change locks the model's row first, so that concurrent processes assign version and move numbers one after the other.
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

#: The alias of the version that serves requests.
CHAMPION = "champion"
#: Both databases accept this statement, while SQLAlchemy needs a dialect-specific construct.
_INSERT_MODEL = text("INSERT INTO models (name, at_us) VALUES (:name, :at_us) ON CONFLICT DO NOTHING")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered model."""

    name: str
    at: datetime  # of its first version, aware, UTC
    versions: int  # count, and the number of the newest
    aliases: dict[str, int]  # alias → version


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One package registered under a model. Immutable, except that synonyms can be added."""

    model: str
    number: int  # 1, 2, …
    digest: str  # of the package
    summary: dict[str, Any]  # excerpts of the manifest: task, labels, input kind, metrics; also the synonyms
    author: str
    at: datetime  # aware, UTC

    @classmethod
    def from_row(cls, row: Row[Any]) -> Version:
        """Creates the value from a row of `versions`."""
        return cls(
            model=row.model,
            number=row.number,
            digest=row.digest,
            summary=msgspec.json.decode(row.summary),
            author=row.who,
            at=from_us(row.at_us),
        )

    @property
    def synonyms(self) -> tuple[str, ...]:
        """Model names that old clients use, in addition to the synonyms in the package."""
        return tuple(self.summary.get("synonyms", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One move of an alias. Immutable."""

    model: str
    alias: str
    serial: int  # 1, 2, … for this model and alias
    version: int
    previous: int | None  # version before the move
    author: str
    reason: str
    at: datetime  # aware, UTC
    move: int  # increases with every move of any alias

    @classmethod
    def from_row(cls, row: Row[Any]) -> AliasMove:
        """Creates the value from a row of `alias_moves`."""
        return cls(
            model=row.model,
            alias=row.alias,
            serial=row.serial,
            version=row.version,
            previous=row.previous,
            author=row.who,
            reason=row.why,
            at=from_us(row.at_us),
            move=row.move,
        )


class _SummarySynonyms(msgspec.Struct, frozen=True):
    """The synonyms in a version's summary."""

    synonyms: tuple[str, ...] = ()


class Registry:
    """Models, versions and aliases. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog) -> None:
        self._engine = engine
        self._audit = audit

    def add(
        self,
        *,
        model: str,
        digest: str,
        summary: dict[str, Any],
        author: str,
        at: datetime,
        synonyms: Sequence[str] = (),
        by: Actor = LOCAL_ACTOR,
    ) -> Version:
        """Registers a package as the model's next version, or returns the version of the same digest. Moves no alias.

        summary: JSON-serializable excerpts of the manifest. at: aware. Raises FieldTypeError for an invalid name.
        synonyms: model names that old clients use, stored in the summary; added to those of an existing version.
        """
        validate_name(model, "model")
        at_us = to_us(at)
        with write_transaction(self._engine) as connection:
            connection.execute(_INSERT_MODEL, {"name": model, "at_us": at_us})
            _lock(connection, model)
            existing = connection.execute(select(versions).where(versions.c.model == model, versions.c.digest == digest)).first()
            if existing is not None:
                return self._add_synonyms(connection, existing, synonyms, by=by, at=at)
            last = connection.scalar(select(func.max(versions.c.number)).where(versions.c.model == model)) or 0
            summary_json = msgspec.json.encode(summary | ({"synonyms": sorted(synonyms)} if synonyms else {})).decode()
            row = {
                "model": model,
                "number": last + 1,
                "digest": digest,
                "summary": summary_json,
                "who": strip_unstorable(author),
                "at_us": at_us,
            }
            connection.execute(versions.insert().values(row))
            after = describe_version(digest, summary_json)
            object_name = f"model:{model}/version:{last + 1}"
            self._audit.append(connection, AuditEvent(by=by, action="version.add", object=object_name, after=after), at=at)
        return self.version(model, last + 1)

    def _add_synonyms(self, connection: Connection, row: Row[Any], synonyms: Sequence[str], *, by: Actor, at: datetime) -> Version:
        """Adds synonyms to an existing version."""
        version = Version.from_row(row)
        all_synonyms = sorted({*version.synonyms, *synonyms})
        if all_synonyms == list(version.synonyms):
            return version
        summary = version.summary | {"synonyms": all_synonyms}
        summary_json = msgspec.json.encode(summary).decode()
        same_version = and_(versions.c.model == version.model, versions.c.number == version.number)
        connection.execute(versions.update().where(same_version).values(summary=summary_json))
        before, after = (describe_version(version.digest, summary_text) for summary_text in (row.summary, summary_json))
        object_name = f"model:{version.model}/version:{version.number}"
        self._audit.append(
            connection, AuditEvent(by=by, action="version.add", object=object_name, before=before, after=after), at=at
        )
        return replace(version, summary=summary)

    def models(self) -> list[Model]:
        """Returns every model, by name."""
        version_counts = select(versions.c.model, func.count().label("versions")).group_by(versions.c.model).subquery()
        query = (
            select(models, version_counts.c.versions)
            .join(version_counts, version_counts.c.model == models.c.name)
            .order_by(models.c.name)
        )
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
        """Returns the model's versions, newest first. Raises ModelNotFoundError."""
        model = strip_unstorable(model)
        query = select(versions).where(versions.c.model == model).order_by(versions.c.number.desc())
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        if not rows:
            raise ModelNotFoundError(model=model)
        return [Version.from_row(row) for row in rows]

    def version(self, model: str, number: int) -> Version:
        """Returns one version. Raises ModelNotFoundError, VersionNotFoundError."""
        model = strip_unstorable(model)
        with read_transaction(self._engine) as connection:
            row = _version_row(connection, model, number)
        return Version.from_row(row)

    def aliases(self, model: str) -> dict[str, int]:
        """Returns the current version of each alias of the model. Raises ModelNotFoundError."""
        model = strip_unstorable(model)
        with read_transaction(self._engine) as connection:
            _require_model(connection, model)
            rows = connection.execute(_last_moves().where(alias_moves.c.model == model)).all()
        return {row.alias: row.version for row in rows}

    def resolve(self, model: str, alias: str) -> Version:
        """Returns the version that an alias points to. Raises ModelNotFoundError, AliasNotFoundError."""
        model, alias = strip_unstorable(model), strip_unstorable(alias)
        with read_transaction(self._engine) as connection:
            _require_model(connection, model)
            last_move = _last_move(connection, model, alias)
            if last_move is None:
                raise AliasNotFoundError(model=model, alias=alias)
            row = _version_row(connection, model, last_move.version)
        return Version.from_row(row)

    def alias_history(self, model: str, *, before: int | None = None, limit: int | None = None) -> list[AliasMove]:
        """Returns the moves of all aliases of the model, newest first.

        before: only moves with a smaller `move`. limit: maximum number. Raises ModelNotFoundError.
        """
        model = strip_unstorable(model)
        query = select(alias_moves).where(alias_moves.c.model == model).order_by(alias_moves.c.move.desc()).limit(limit)
        if before is not None:
            query = query.where(alias_moves.c.move < before)
        with read_transaction(self._engine) as connection:
            _require_model(connection, model)
            rows = connection.execute(query).all()
        return [AliasMove.from_row(row) for row in rows]

    def move_alias(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        author: str,
        reason: str,
        at: datetime,
        expected: int | None = None,
        by: Actor = LOCAL_ACTOR,
    ) -> AliasMove:
        """Points the alias to another version. If it already points there, returns its last move and changes nothing.

        expected: the version the caller believes it points to, 0 for "not set yet", None for any.
        Raises FieldTypeError for an invalid alias, ModelNotFoundError, VersionNotFoundError, PreconditionFailedError.
        """
        validate_name(alias, "alias")
        model = strip_unstorable(model)
        with write_transaction(self._engine) as connection:
            _lock(connection, model)
            _version_row(connection, model, version)
            last_move = _last_move(connection, model, alias)
            current = 0 if last_move is None else last_move.version
            if expected is not None and current != expected:
                raise PreconditionFailedError(reason=_alias_state(alias, current))
            if last_move is not None and last_move.version == version:
                return AliasMove.from_row(last_move)
            connection.execute(
                alias_moves.insert().values(
                    model=model,
                    alias=alias,
                    serial=1 if last_move is None else last_move.serial + 1,
                    version=version,
                    previous=None if last_move is None else last_move.version,
                    who=strip_unstorable(author),
                    why=strip_unstorable(reason),
                    at_us=to_us(at),
                )
            )
            new_move = _last_move(connection, model, alias)
            assert new_move is not None  # noqa: S101 - it was inserted above, in the same transaction
            signature = self._audit.pseudonymize(signed_move_fields(new_move))
            self._audit.append(connection, _move_event(by, new_move, with_marks(str(version), signature)), at=at)
        return AliasMove.from_row(new_move)

    def routes(self) -> list[TrafficSplit]:
        """Returns one route for each model with a champion, in the order of registration; its epoch is the number of champion moves."""
        champions = _last_moves().where(alias_moves.c.alias == CHAMPION).subquery()
        query = (
            select(champions.c.serial, *versions.c)
            .join(versions, and_(versions.c.model == champions.c.model, versions.c.number == champions.c.version))
            .join(models, models.c.name == champions.c.model)
            .order_by(models.c.at_us, champions.c.model)
        )
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        return [_route(row.serial, Version.from_row(row)) for row in rows]


def signed_move_fields(row: Row[Any]) -> list[object]:
    """Returns what the audit signs of a move: every column, because the author can be a person's name."""
    return ["move", row.model, row.alias, row.serial, row.version, row.previous, row.who, row.why, row.at_us]


def _move_event(by: Actor, move: Row[Any], after: str) -> AuditEvent:
    object_name = f"model:{move.model}/alias:{move.alias}"
    return AuditEvent(by=by, action="alias.move", object=object_name, before=str(move.previous or ""), after=after, reason=move.why)


def describe_version(digest: str, summary: str) -> str:
    """Returns how the audit describes a version: its digest, and the synonyms of the summary. summary: JSON."""
    try:
        synonyms = msgspec.json.decode(summary, type=_SummarySynonyms).synonyms
    except msgspec.MsgspecError:
        return f"{digest} with a damaged summary"
    return f"{digest} {msgspec.json.encode(synonyms).decode()}" if synonyms else digest


def _route(epoch: int, version: Version) -> TrafficSplit:
    target = RouteTarget(version=version.number, digest=version.digest, arm=Arm.CHAMPION, weight=1.0)
    return TrafficSplit(model=version.model, epoch=epoch, targets=(target,), salt=version.model, synonyms=version.synonyms)


def _alias_state(alias: str, version: int) -> str:
    return f"'{alias}' stands at version {version}" if version else f"'{alias}' is not set"


def _lock(connection: Connection, model: str) -> None:
    """Locks this model's row until the transaction ends; on SQLite the whole file is locked already. Raises ModelNotFoundError."""
    row = connection.execute(select(models.c.name).where(models.c.name == model).with_for_update()).first()
    if row is None:
        raise ModelNotFoundError(model=model)


def _require_model(connection: Connection, model: str) -> None:
    if connection.execute(select(models.c.name).where(models.c.name == model)).first() is None:
        raise ModelNotFoundError(model=model)


def _version_row(connection: Connection, model: str, number: int) -> Row[Any]:
    query = select(versions).where(versions.c.model == model, versions.c.number == number)
    row = connection.execute(query).first() if is_version_number(number) else None
    if row is None:
        _require_model(connection, model)
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
    """Selects the last move of every alias of every model."""
    newest = select(func.max(alias_moves.c.move).label("move")).group_by(alias_moves.c.model, alias_moves.c.alias).subquery()
    return select(alias_moves).join(newest, newest.c.move == alias_moves.c.move)
