"""Reads which models are being served from the home's files, without authenticating to the server.

worker ─ save_load_failures ─► unserved.json in the home ─┐
store ─ models, routes ───────────────────────────────────┴─ model_statuses ─► name, served version, or why none is served
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.server.stores import open_store
from relevo.util.files import load_state, save_state

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from relevo.config import Settings
    from relevo.serve.service import ModelState

_FILE = "unserved.json"
_NO_CHAMPION = "no version of it is in charge"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """Serving status of one registered model. Lifetime: one command."""

    name: str
    version: int | None  # the served version; None: none is served
    reason: str  # why none is served


def save_load_failures(home: Path, states: Iterable[ModelState]) -> None:
    """In a worker that is about to be ready: saves which models it could not load, and why."""
    save_state(home / _FILE, {state.name: state.reason for state in states if not state.ready})


def model_statuses(settings: Settings) -> list[ModelStatus]:
    """The status of every registered model in a server that has just started. Raises DatabaseUnavailableError."""
    failures = load_state(settings.home / _FILE, dict[str, str]) or {}
    store = open_store(settings, migrated=True)
    try:
        names = [model.name for model in store.registry.models()]
        served_versions = {route.model: route.targets[0].version for route in store.registry.routes()}
    finally:
        store.engine.dispose()
    return [
        ModelStatus(
            name=name,
            version=None if name in failures else served_versions.get(name),
            reason=failures.get(name, "" if name in served_versions else _NO_CHAMPION),
        )
        for name in names
    ]
