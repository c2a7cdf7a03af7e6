"""Registers packages: in the package store, with a version and an alias.

package ─ open, verify, replay golden examples ─► package store ─► registry: version ─ promotion guard ─► alias moved
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from relevo.server.stores import open_store, utc_now

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from relevo.config import Settings
    from relevo.package.package import Package
    from relevo.server.stores import Store
    from relevo.store.registry import AliasMove, Version

#: The alias of the version that answers requests.
_CHAMPION = "champion"


def register(
    settings: Settings,
    path: Path,
    *,
    alias: str = _CHAMPION,
    author: str,
    reason: str,
    force: bool = False,
    synonyms: Sequence[str] = (),
) -> Version:
    """Verifies a package (folder or .zip), stores it, and gives it a version and the alias. Raises PackageError.

    The first version of a model also becomes its champion, whatever its alias. force: whether it becomes champion although it would
    break clients of the previous version, or is worse. synonyms: additional names by which old clients request the model.
    Raises PromotionRefusedError without force; then the version is registered, and the alias is not moved.
    """
    from relevo.package.package import open_package, replay_golden

    package = open_package(path)
    replay_golden(package)
    store = open_store(settings)
    store.packages.put(package.digest, package.files())
    now = utc_now()
    name = package.manifest.name
    summary = _summary(package)
    version = store.registry.add(model=name, digest=package.digest, summary=summary, author=author, at=now, synonyms=synonyms)
    try:
        move_alias(store, name, alias, version.number, author=author, reason=reason, at=now, force=force)
        if _CHAMPION not in store.registry.aliases(name):
            # A model without a champion answers no request.
            store.registry.move_alias(name, _CHAMPION, version.number, author=author, reason=reason, at=now)
    finally:
        store.engine.dispose()
    return version


def champion_of(settings: Settings, model: str) -> int | None:
    """The number of the version that answers requests to the model."""
    store = open_store(settings, begins=False)
    number = store.registry.aliases(model).get(_CHAMPION)
    store.engine.dispose()
    return number


def move_alias(
    store: Store, model: str, alias: str, version: int, *, author: str, reason: str, at: datetime, force: bool = False
) -> AliasMove:
    """Moves the alias to a version. Raises PromotionRefusedError without force when the promotion guard rejects a new champion."""
    from relevo.package.documents import takeover_of

    takeover = takeover_of(store.registry, store.packages, model, version) if alias == _CHAMPION else None
    if takeover is None:
        return store.registry.move_alias(model, alias, version, author=author, reason=reason, at=at)
    reason = takeover.allowed(reason, force=force)
    return store.registry.move_alias(model, alias, version, author=author, reason=reason, at=at, expected=takeover.before)


def _summary(package: Package) -> dict[str, Any]:
    manifest = package.manifest
    return {
        "task": manifest.output.task.value,
        "labels": list(manifest.output.labels),
        "input": msgspec.to_builtins(manifest.input)["type"],
        "description": manifest.description,
        "framework": manifest.lineage.framework,
        "metrics": {name: value for name, value in package.metrics.items() if name != "held_out"},
    }
