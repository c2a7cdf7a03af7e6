"""Where `history` and `label` look: a running server by its URL, or the store in the folder. Both give the same JSON.

--url ─► Remote ─► client ─► GET /predictions …
--home ─► Local ─► store.history, store.labels
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


def source(home: Path | None, url: str | None, key: str | None, ca: Path | None) -> Remote | Local:
    """The server when there is a url, else the folder's store. Raises NotFoundError where there is neither."""
    if url is not None:
        from relevo.client import Client

        client = Client(url, key, verify=ca)
        client.speak(language())
        return Remote(client)
    from relevo.server import open_store

    return Local(open_store(require_home(home), begins=False))


def cells(item: dict[str, Any]) -> tuple[object, ...]:
    """One prediction as a row under HEADS."""
    when = moment(item["at"], seconds=True)
    sure = "" if item.get("confidence") is None else percent(item["confidence"])
    note = item.get("error") or (translate("uncertain") if item.get("uncertain") else "")
    who = item.get("asked_by_name") or item.get("asked_by")
    model = f"{item['model']} {item['version']}"
    return when, model, item.get("prediction"), sure, note, item.get("label"), who, item["query_id"]


class Remote:
    """A running server; lives as long as one command."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def page(self, *, limit: int, cursor: str | None, wanted: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        """Some predictions, newest first, and where the next page begins."""
        asked = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in wanted.items()}
        found = self._client.history(limit=limit, cursor=cursor, **asked)
        return found.items, found.next_cursor

    def one(self, query_id: str) -> dict[str, Any]:
        """One prediction, with every label it was given."""
        return self._client.prediction(query_id) | {"labels": self._client.labels(query_id)}

    def label(self, query_id: str, value: str, author: str | None, note: str) -> dict[str, Any]:
        """Say what was true. Raises OriginError for an author: the server names the one it knows."""
        if author is not None:
            raise OriginError(reason="with --url the server names the author; leave --author out")
        return self._client.label(query_id, value, note=note)


class Local:
    """The store in the folder; lives as long as one command."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(self, *, limit: int, cursor: str | None, wanted: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        """Some predictions, newest first, and where the next page begins."""
        found = self._store.history.window(limit=limit, cursor=cursor, **wanted)
        truths = self._store.labels.current_many([one.prediction.id for one in found.items])
        names = self._store.people.names_of(one.prediction.asked_by for one in found.items)
        return [_item(one, truths.get(one.prediction.id), names) for one in found.items], found.next_cursor

    def one(self, query_id: str) -> dict[str, Any]:
        """One prediction, with every label it was given. Raises PredictionNotFoundError."""
        from relevo.web.schemas.common import Truth

        stored = self._store.history.get(_raw(query_id))
        given = self._store.labels.of(stored.prediction.id)
        labels = [Truth.of(one).model_dump(mode="json") for one in given]
        names = self._store.people.names_of([stored.prediction.asked_by])
        return _item(stored, self._store.labels.current(stored.prediction.id), names) | {"labels": labels}

    def label(self, query_id: str, value: str, author: str | None, note: str) -> dict[str, Any]:
        """Say what was true. Raises PredictionNotFoundError, InvalidLabelError, LabelNotNumberError."""
        from relevo.web.routes.labels import check_label
        from relevo.web.schemas.common import Truth

        record = self._store.history.get(_raw(query_id)).prediction
        summary = self._store.registry.version(record.model, record.version).summary
        check_label(value, Task(summary["task"]), tuple(summary["labels"]))
        label = Label(
            prediction=record.id, value=value, author=author or current_user(), source="cli", at=datetime.now(UTC), note=note
        )
        return Truth.of(self._store.labels.put(label)).model_dump(mode="json")


def _raw(query_id: str) -> bytes:
    found = ids.raw(query_id)
    if found is None:
        raise PredictionNotFoundError
    return found


def _item(stored: StoredPrediction, truth: Label | None, names: Mapping[str, str]) -> dict[str, Any]:
    from relevo.web.schemas.common import PredictionView

    return PredictionView.of(stored, truth, names).model_dump(mode="json")
