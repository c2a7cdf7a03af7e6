"""How the models of a home stand when its server has started, read without asking the server, which may ask who we are.

worker ─ tell_unserved ─► unserved.json in home ─┐
store ─ models, routes ──────────────────────────┴─ standing ─► name, version in charge, or why none answers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.server.stores import open_store
from relevo.util.state_file import load_state, save_state

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from relevo.config import Settings
    from relevo.serve.service import ModelState

_FILE = "unserved.json"
_NOBODY = "no version of it is in charge"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """One registered model."""

    name: str
    version: int | None  # that answers; None: none does
    reason: str  # why none answers


def save_load_failures(home: Path, states: Iterable[ModelState]) -> None:
    """In a worker that is about to answer: note which models it could not load, and why."""
    save_state(home / _FILE, {one.name: one.reason for one in states if not one.ready})


def model_statuses(settings: Settings) -> list[ModelStatus]:
    """Every registered model as a server that has just started serves it. Raises DatabaseUnavailableError."""
    unserved = load_state(settings.home / _FILE, dict[str, str]) or {}
    store = open_store(settings, migrated=True)
    try:
        names = [model.name for model in store.registry.models()]
        charged = {route.model: route.legs[0].version for route in store.registry.routes()}
    finally:
        store.engine.dispose()
    return [
        ModelStatus(
            name=name,
            version=None if name in unserved else charged.get(name),
            reason=unserved.get(name, "" if name in charged else _NOBODY),
        )
        for name in names
    ]
