"""What is fit to be learnt from, looked up in the folder or at a server; both give the same JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.config import Settings

_A_PAGE = 1000


def cleaned_here(settings: Settings, model: str) -> dict[str, Any]:
    """Counts, and every exclusion. Raises ModelNotFoundError."""
    from relevo.server import open_store
    from relevo.server.admin import LabelCuration
    from relevo.web.schemas.labels import CleaningPage

    store = open_store(settings, begins=False)
    store.registry.aliases(model)  # which raises for a model that is not there
    found = LabelCuration(store.history, store.labels, settings).report(model)
    return CleaningPage.of(found, b"", max(len(found.excluded), 1)).model_dump(mode="json", exclude={"next_cursor"})


def cleaned_there(url: str, key: str | None, ca: Path | None, model: str) -> dict[str, Any]:
    """Counts, and every exclusion. Raises ModelNotFoundError, PermissionDeniedError."""
    from relevo.client import Client

    with Client(url, key, verify=ca) as client:
        where = f"/models/{quote(model, safe='')}/cleaning"
        found: dict[str, Any] = client.ask("GET", where, params={"limit": _A_PAGE})
        while (cursor := found.pop("next_cursor")) is not None:
            page = client.ask("GET", where, params={"limit": _A_PAGE, "cursor": cursor})
            found["excluded"] += page["excluded"]
            found["next_cursor"] = page["next_cursor"]
    return found
