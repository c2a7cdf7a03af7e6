"""Reads and labels predictions for `history` and `label`, at a server or in the local store. Both give the same JSON.

--url ─► RemoteHistory ─► client ─► GET /predictions …
--home ─► LocalHistory ─► store.history, store.labels
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relevo.cli.options import current_user, require_home
from relevo.cli.translate import language, moment, percent, translate
from relevo.domain import ids
from relevo.domain.prediction import Label
from relevo.domain.signature import Task
from relevo.errors import OriginError, PredictionNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relevo.client import Client
    from relevo.server import Store
    from relevo.store.predictions import StoredPrediction

HEADS = ("when", "model", "prediction", "confidence", "", "truth", "asked by", "query_id")


def source(home: Path | None, url: str | None, key: str | None, ca: Path | None) -> RemoteHistory | LocalHistory:
    """The server if a url is given, else the store of the folder. Raises NotFoundError when there is no store."""
    if url is not None:
        from relevo.client import Client

        client = Client(url, key, verify=ca)
        client.set_language(language())
        return RemoteHistory(client)
    from relevo.server import open_store

    return LocalHistory(open_store(require_home(home), begins=False))


def cells(item: dict[str, Any]) -> tuple[object, ...]:
    """One prediction as a table row under HEADS."""
    when = moment(item["at"], seconds=True)
    confidence = "" if item.get("confidence") is None else percent(item["confidence"])
    note = item.get("error") or (translate("uncertain") if item.get("uncertain") else "")
    requested_by = item.get("requested_by_name") or item.get("requested_by")
    model = f"{item['model']} {item['version']}"
    return when, model, item.get("prediction"), confidence, note, item.get("label"), requested_by, item["query_id"]


class RemoteHistory:
    """The history of a running server. Lifetime: one command."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def page(self, *, limit: int, cursor: str | None, filters: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        """One page of predictions, newest first, and the cursor of the next page."""
        parameters = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in filters.items()}
        page = self._client.history(limit=limit, cursor=cursor, **parameters)
        return page.items, page.next_cursor

    def get(self, query_id: str) -> dict[str, Any]:
        """One prediction with all its labels."""
        return self._client.prediction(query_id) | {"labels": self._client.labels(query_id)}

    def label(self, query_id: str, value: str, author: str | None, note: str) -> dict[str, Any]:
        """Labels a prediction. Raises OriginError if an author is given, because the server determines the author."""
        if author is not None:
            raise OriginError(reason="with --url the server names the author; leave --author out")
        return self._client.label(query_id, value, note=note)


class LocalHistory:
    """The history in the local store. Lifetime: one command."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(self, *, limit: int, cursor: str | None, filters: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        """One page of predictions, newest first, and the cursor of the next page."""
        page = self._store.predictions.page(limit=limit, cursor=cursor, **filters)
        labels = self._store.labels.resolved_many([stored.prediction.id for stored in page.items])
        names = self._store.users.names_of(stored.prediction.requested_by for stored in page.items)
        return [_item(stored, labels.get(stored.prediction.id), names) for stored in page.items], page.next_cursor

    def get(self, query_id: str) -> dict[str, Any]:
        """One prediction with all its labels. Raises PredictionNotFoundError."""
        from relevo.web.schemas.common import LabelOut

        stored = self._store.predictions.get(_parse_id(query_id))
        stored_labels = self._store.labels.for_prediction(stored.prediction.id)
        labels = [LabelOut.from_domain(label).model_dump(mode="json") for label in stored_labels]
        names = self._store.users.names_of([stored.prediction.requested_by])
        return _item(stored, self._store.labels.resolved(stored.prediction.id), names) | {"labels": labels}

    def label(self, query_id: str, value: str, author: str | None, note: str) -> dict[str, Any]:
        """Labels a prediction. Raises PredictionNotFoundError, InvalidLabelError, LabelNotNumberError."""
        from relevo.web.routes.labels import check_label
        from relevo.web.schemas.common import LabelOut

        record = self._store.predictions.get(_parse_id(query_id)).prediction
        summary = self._store.registry.version(record.model, record.version).summary
        check_label(value, Task(summary["task"]), tuple(summary["labels"]))
        label = Label(
            prediction=record.id, value=value, author=author or current_user(), source="cli", at=datetime.now(UTC), note=note
        )
        return LabelOut.from_domain(self._store.labels.put(label)).model_dump(mode="json")


def _parse_id(query_id: str) -> bytes:
    raw_id = ids.raw(query_id)
    if raw_id is None:
        raise PredictionNotFoundError
    return raw_id


def _item(stored: StoredPrediction, label: Label | None, names: Mapping[str, str]) -> dict[str, Any]:
    from relevo.web.schemas.common import PredictionOut

    return PredictionOut.from_domain(stored, label, names).model_dump(mode="json")
