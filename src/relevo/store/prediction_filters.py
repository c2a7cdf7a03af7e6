"""Filters of the prediction log as SQL: finds a page among a million predictions from indexes alone, whatever the filters.

    filters ─► models ─► for each: the newest ids of one index ─┐
                                          … of the next model ─┴─► the newest of all ─► ids of the page

Every index starts with the model and contains all filter columns, so no row is read before its page is known.
One query for each model keeps the ids in index order; there are few models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from sqlalchemy import ColumnElement, Select, false, select, text, union_all

from relevo.store.db.tables import predictions
from relevo.store.db.text import is_version_number, strip_unstorable
from relevo.util.timestamps import min_id_at

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import CompoundSelect, Connection

#: Each step finds the next model by one index seek; DISTINCT would read the whole index.
_MODELS = text(
    "WITH RECURSIVE found(model) AS (SELECT min(model) FROM predictions UNION ALL "
    "SELECT (SELECT min(model) FROM predictions WHERE predictions.model > found.model) FROM found WHERE found.model IS NOT NULL) "
    "SELECT model FROM found WHERE model IS NOT NULL"
)
_TIME_FILTERS = frozenset({"since", "until"})


class Filters(TypedDict, total=False):
    """Filters of a query; each may be missing or None."""

    model: str | None
    models: list[str] | None  # any of these
    version: int | None
    since: datetime | None  # aware, included
    until: datetime | None  # aware, not included
    label: str | None  # the predicted label
    uncertain: bool | None
    requested_by: str | None  # the caller as stored: "key:…", "user:…"
    truth: str | None  # the resolved label
    labelled: bool | None  # whether there is a resolved label


def newest_ids(connection: Connection, filters: Filters, *, before: bytes | None, limit: int) -> list[bytes]:
    """Returns the ids that match the filters, newest first, at most `limit`, all smaller than `before`."""
    where = conditions(filters)
    if before is not None:
        where.append(predictions.c.id < before)
    if not {name for name, value in filters.items() if value is not None} - _TIME_FILTERS or filters.get("model") is not None:
        return _ids(connection, _newest(where, limit))
    requested = filters.get("models")
    models = connection.execute(_MODELS).scalars().all() if requested is None else sorted(set(map(strip_unstorable, requested)))
    parts = [select(_newest([predictions.c.model == model, *where], limit).subquery()) for model in models]
    if not parts:
        return []
    candidates = union_all(*parts).subquery()
    return _ids(connection, select(candidates.c.id).order_by(candidates.c.id.desc()).limit(limit))


def _newest(where: list[ColumnElement[bool]], limit: int) -> Select[Any]:
    return select(predictions.c.id).where(*where).order_by(predictions.c.id.desc()).limit(limit)


def _ids(connection: Connection, query: Select[Any] | CompoundSelect[Any]) -> list[bytes]:
    return [bytes(row.id) for row in connection.execute(query)]


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Returns the filters as SQL conditions."""
    return [*_equality_conditions(filters), *_boolean_conditions(filters), *_time_conditions(filters)]


def _equality_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    table = predictions.c
    result: list[ColumnElement[bool]] = []
    if (model := filters.get("model")) is not None:
        result.append(table.model == strip_unstorable(model))
    if (models := filters.get("models")) is not None:
        result.append(table.model.in_([strip_unstorable(model) for model in models]))
    if (version := filters.get("version")) is not None:
        result.append(table.version == version if is_version_number(version) else false())
    if (label := filters.get("label")) is not None:
        result.append(table.label == strip_unstorable(label))
    if (requested_by := filters.get("requested_by")) is not None:
        result.append(table.requested_by == strip_unstorable(requested_by))
    if (truth := filters.get("truth")) is not None:
        result.append(table.truth == strip_unstorable(truth))
    return result


def _boolean_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    table = predictions.c
    result: list[ColumnElement[bool]] = []
    if (uncertain := filters.get("uncertain")) is not None:
        result.append(table.uncertain.is_(uncertain))
    if (labelled := filters.get("labelled")) is not None:
        result.append(table.truth.is_not(None) if labelled else table.truth.is_(None))
    return result


def _time_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    result: list[ColumnElement[bool]] = []
    if (since := filters.get("since")) is not None:
        result.append(predictions.c.id >= min_id_at(since))
    if (until := filters.get("until")) is not None:
        result.append(predictions.c.id < min_id_at(until))
    return result
