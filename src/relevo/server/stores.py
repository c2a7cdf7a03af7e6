"""Opens the store of a home, creates its folders, and registers packages in it.

Settings ─ open_store ─► Store
package ─ open, verify, replay golden examples ─► package store ─► registry: version ─► alias moved
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.errors import ConfigError, RelevoError
from relevo.server.users_marker import check_users, had_users, note_users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from relevo.config import Settings
    from relevo.domain.label_aggregation import LabelAggregation
    from relevo.package.package import Package
    from relevo.store.audit.log import AuditLog
    from relevo.store.audit.reader import AuditReader
    from relevo.store.auth.users import Users
    from relevo.store.encryption import InputEncryption
    from relevo.store.erasure import Erasure
    from relevo.store.files.blobs import Blobs
    from relevo.store.files.packages import PackageStore
    from relevo.store.labels.labels import Labels
    from relevo.store.labels.queue import LabelQueue
    from relevo.store.predictions import PredictionStore
    from relevo.store.registry import AliasMove, Registry, Version
    from relevo.store.traffic import Traffic

log = logging.getLogger(__name__)

#: File in the home where the workers cache the routes.
ROUTES_FILE = "routes.json"
_OWNER_ONLY, _GROUP_AND_OTHERS = 0o700, 0o077
#: The alias of the version that answers requests.
_CHAMPION = "champion"


def utc_now() -> datetime:
    """The current time, aware, for records."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The parts of the store, all on one database. Lifetime: the process."""

    engine: Engine
    registry: Registry
    history: PredictionStore
    labels: Labels
    traffic: Traffic
    asking: LabelQueue
    people: Users
    audit: AuditLog
    trail: AuditReader
    sealing: InputEncryption | None
    erasing: Erasure
    blobs: Blobs
    packages: PackageStore


def open_store(settings: Settings, *, migrated: bool = False, begins: bool = True) -> Store:
    """Opens the store of this home. migrated: whether the parent process has migrated the schema.

    begins: whether a database is created in a home that never had one; a lost database is never created again. False for commands
    that only read. Raises DatabaseUnavailableError, InvalidSettingError, UsersLostError when a home with users has an empty user table.
    """
    # The database libraries take half a second to load, and not every process needs them.
    from relevo.server.encryption_keys import input_encryption
    from relevo.store.audit.keys import AuditKeyRing
    from relevo.store.audit.log import AuditLog
    from relevo.store.audit.reader import AuditReader
    from relevo.store.auth.users import Users
    from relevo.store.db.engine import connect, migrate
    from relevo.store.db.identity import DatabaseIdentity
    from relevo.store.erasure import Erasure
    from relevo.store.files.blobs import Blobs
    from relevo.store.files.packages import PackageStore
    from relevo.store.labels.labels import Labels
    from relevo.store.labels.notes import Notes
    from relevo.store.labels.queue import LabelQueue
    from relevo.store.predictions import PredictionStore
    from relevo.store.registry import Registry
    from relevo.store.traffic import Traffic

    make_home(settings)
    identity = DatabaseIdentity(settings.home, settings.store_url, begins=begins)
    # A worker (migrated=True) must also start while the database is unavailable, and must never create an empty one in its place.
    make = begins and not migrated and identity.known() is None and not had_users(settings.home)
    engine = connect(settings.store_url, make=make, identity=identity)
    if not migrated:
        check_users(settings, engine)
        migrate(engine)
    blobs = Blobs(settings.blobs_folder)
    sealing = input_encryption(settings, engine)
    ring = AuditKeyRing(settings.keys_folder)
    audit, trail = AuditLog(ring.current(), ring=ring), AuditReader(engine)
    if not migrated:
        # For commands without a background process; next to the workers one runs, which polls each second.
        audit.witnessed_by(_both(checkpoint_writer(settings, trail, audit), checkpoint_exporter(settings, trail, audit)))
    return Store(
        engine=engine,
        registry=Registry(engine, audit),
        history=PredictionStore(engine, blobs, sealing),
        labels=Labels(engine, audit, Notes(engine, sealing, seals=settings.encrypt_inputs == "on")),
        traffic=Traffic(engine),
        asking=LabelQueue(engine, share=settings.label_sampling_rate),
        people=Users(engine, audit, noted=partial(note_users, settings.home)),
        audit=audit,
        trail=trail,
        sealing=sealing,
        erasing=Erasure(engine, blobs, audit),
        blobs=blobs,
        packages=PackageStore(settings.packages_folder),
    )


def checkpoint_writer(settings: Settings, trail: AuditReader, audit: AuditLog) -> Callable[[], None]:
    """Returns a function that saves a new audit checkpoint. It never raises, because the change itself is already committed."""
    from relevo.store.audit.checkpoints import Checkpoints

    checkpoints = Checkpoints(settings.audit_folder, trail, audit)
    last_error = ""

    def save() -> None:
        nonlocal last_error
        try:
            checkpoints.look(utc_now())
            last_error = ""
        except (OSError, RelevoError) as cause:
            if str(cause) != last_error:
                last_error = str(cause)
                log.warning("the head of the audit was not written down: %s", last_error, extra={"action": "audit.heads"})

    return save


def checkpoint_exporter(settings: Settings, trail: AuditReader, audit: AuditLog) -> Callable[[], None]:
    """Returns a function that sends a new audit checkpoint to audit_checkpoint_to; it never raises. Raises ConfigError."""
    if not settings.audit_checkpoint_to:
        return lambda: None
    from relevo.server.checkpoint_export import CheckpointExporter, checkpoint_sender

    send = checkpoint_sender(settings)
    return CheckpointExporter(send, trail, audit, now=utc_now).poll if send else lambda: None


def label_aggregation(settings: Settings) -> LabelAggregation:
    """The configured rule that resolves several labels of one prediction, with the trusted authors."""
    from relevo.domain.label_aggregation import AggregationStrategy, LabelAggregation

    return LabelAggregation(rule=AggregationStrategy(settings.label_aggregation), trusted=settings.trusted_names)


def _both(*functions: Callable[[], None]) -> Callable[[], None]:
    def call_all() -> None:
        for function in functions:
            function()

    return call_all


def make_home(settings: Settings) -> None:
    """Creates the folder of this home, or restricts an existing one to its owner. Raises ConfigError when it cannot be used."""
    home = settings.home
    try:
        if not home.is_dir():
            home.parent.mkdir(parents=True, exist_ok=True)
            home.mkdir(mode=_OWNER_ONLY, exist_ok=True)
    except OSError as cause:
        raise ConfigError(reason=f"the folder {home} cannot be made ({cause.strerror})") from cause
    _check_folders(settings)
    _restrict_to_owner(home, _folders(settings))


def check_home(settings: Settings) -> None:
    """Checks before long work whether this home can be used; creates nothing. Raises ConfigError as `make_home` does."""
    from relevo.package.archive import write_error

    home = settings.home
    problem = None if os.path.lexists(home) else write_error(home.parent)
    if problem is not None:
        raise ConfigError(reason=f"the folder {home} cannot be made ({problem})")
    _check_folders(settings)


def _folders(settings: Settings) -> tuple[Path, ...]:
    return (
        settings.spool_folder,
        settings.telemetry_folder,
        settings.packages_folder,
        settings.blobs_folder,
        settings.keys_folder,
    )


def _check_folders(settings: Settings) -> None:
    for folder in (settings.home, *_folders(settings)):
        if os.path.lexists(folder):
            _check_folder(folder)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigError(reason=f"{folder} is no folder; move it away, or choose another --home")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(reason=f"the folder {folder} cannot be written; choose another --home, or mend its rights")


def _restrict_to_owner(home: Path, folders: Iterable[Path]) -> None:
    """Restricts the stored inputs to the owner. A home that is also a project folder keeps its own permissions."""
    for path in (*folders, home / ROUTES_FILE, *home.glob("relevo.db*")):
        _restrict_file(path)
    if (home / "relevo.db").exists() and not (home / "relevo.toml").exists():
        _restrict_file(home)


def _restrict_file(path: Path) -> None:
    # Ignores files that do not exist or belong to another user.
    with contextlib.suppress(OSError):
        mode = path.stat(follow_symlinks=False).st_mode
        if mode & _GROUP_AND_OTHERS and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~_GROUP_AND_OTHERS)


def register(
    settings: Settings,
    path: Path,
    *,
    alias: str = _CHAMPION,
    who: str,
    why: str,
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
    version = store.registry.add(model=name, digest=package.digest, summary=summary, who=who, at=now, synonyms=synonyms)
    try:
        move_alias(store, name, alias, version.number, who=who, why=why, at=now, force=force)
        if _CHAMPION not in store.registry.aliases(name):
            # A model without a champion answers no request.
            store.registry.move_alias(name, _CHAMPION, version.number, who=who, why=why, at=now)
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
    store: Store, model: str, alias: str, version: int, *, who: str, why: str, at: datetime, force: bool = False
) -> AliasMove:
    """Moves the alias to a version. Raises PromotionRefusedError without force when the promotion guard rejects a new champion."""
    from relevo.package.documents import takeover_of

    takeover = takeover_of(store.registry, store.packages, model, version) if alias == _CHAMPION else None
    if takeover is None:
        return store.registry.move_alias(model, alias, version, who=who, why=why, at=at)
    why = takeover.allowed(why, force=force)
    return store.registry.move_alias(model, alias, version, who=who, why=why, at=at, expected=takeover.before)


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
