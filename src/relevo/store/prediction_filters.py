"""How a page of the history is found among a million predictions: on indexes alone, whatever it is narrowed by.

    filters ─► models ─► for each: the newest ids of one index ─┐
                                          … of the next model ─┴─► the newest of them all ─► ids of the page

Every index begins with the model and holds all columns that a filter may name, so no row is looked into before its page is known.
Asking for each model by itself keeps the ids in order within the index; models are few.
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

#: Each step finds the next name by one look into an index, where DISTINCT would read them all.
_MODELS = text(
    "WITH RECURSIVE found(model) AS (SELECT min(model) FROM predictions UNION ALL "
    "SELECT (SELECT min(model) FROM predictions WHERE predictions.model > found.model) FROM found WHERE found.model IS NOT NULL) "
    "SELECT model FROM found WHERE model IS NOT NULL"
)
_BY_TIME_ALONE = frozenset({"since", "until"})


class Filters(TypedDict, total=False):
    """What narrows a window; everything may be left out or None."""

    model: str | None
    models: list[str] | None  # any of these
    version: int | None
    since: datetime | None  # aware, included
    until: datetime | None  # aware, not included
    label: str | None  # the answered one
    uncertain: bool | None
    asked_by: str | None  # as the history has it: "key:…", "user:…"
    truth: str | None  # the label that counts
    labelled: bool | None  # whether there is one that counts


def newest_ids(connection: Connection, filters: Filters, *, before: bytes | None, limit: int) -> list[bytes]:
    """The ids that the filters leave, newest first, at most `limit`; all smaller than `before`."""
    narrow = conditions(filters)
    if before is not None:
        narrow.append(predictions.c.id < before)
    if not {name for name, value in filters.items() if value is not None} - _BY_TIME_ALONE or filters.get("model") is not None:
        return _ids(connection, _newest(narrow, limit))
    wanted = filters.get("models")
    models = connection.execute(_MODELS).scalars().all() if wanted is None else sorted({strip_unstorable(one) for one in wanted})
    parts = [select(_newest([predictions.c.model == model, *narrow], limit).subquery()) for model in models]
    if not parts:
        return []
    every = union_all(*parts).subquery()
    return _ids(connection, select(every.c.id).order_by(every.c.id.desc()).limit(limit))


def _newest(narrow: list[ColumnElement[bool]], limit: int) -> Select[Any]:
    return select(predictions.c.id).where(*narrow).order_by(predictions.c.id.desc()).limit(limit)


def _ids(connection: Connection, query: Select[Any] | CompoundSelect[Any]) -> list[bytes]:
    return [bytes(row.id) for row in connection.execute(query)]


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """The filters as SQL."""
    return [*_exact(filters), *_yes_or_no(filters), *_between(filters)]


def _exact(filters: Filters) -> list[ColumnElement[bool]]:
    table = predictions.c
    found: list[ColumnElement[bool]] = []
    if (model := filters.get("model")) is not None:
        found.append(table.model == strip_unstorable(model))
    if (models := filters.get("models")) is not None:
        found.append(table.model.in_([strip_unstorable(model) for model in models]))
    if (version := filters.get("version")) is not None:
        found.append(table.version == version if is_version_number(version) else false())
    if (label := filters.get("label")) is not None:
        found.append(table.label == strip_unstorable(label))
    if (asked_by := filters.get("asked_by")) is not None:
        found.append(table.asked_by == strip_unstorable(asked_by))
    if (truth := filters.get("truth")) is not None:
        found.append(table.truth == strip_unstorable(truth))
    return found


def _yes_or_no(filters: Filters) -> list[ColumnElement[bool]]:
    table = predictions.c
    found: list[ColumnElement[bool]] = []
    if (uncertain := filters.get("uncertain")) is not None:
        found.append(table.uncertain.is_(uncertain))
    if (labelled := filters.get("labelled")) is not None:
        found.append(table.truth.is_not(None) if labelled else table.truth.is_(None))
    return found


def _between(filters: Filters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if (since := filters.get("since")) is not None:
        found.append(predictions.c.id >= min_id_at(since))
    if (until := filters.get("until")) is not None:
        found.append(predictions.c.id < min_id_at(until))
    return found
