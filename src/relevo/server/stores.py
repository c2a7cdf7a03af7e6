"""The store of a home, and how a package gets into it.

Settings ─ open_store ─► Store
package ─ open, verify, replay ─► shelf ─► registry: version ─► alias moved
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.errors import ConfigError, RelevoError
from relevo.server.users_marker import check_users, had_users, note_users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Engine

    from relevo.config import Settings
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

#: What the workers remember of the routes, in the home.
ROUTES_FILE = "routes.json"
_OWN_FOLDER, _OF_OTHERS = 0o700, 0o077
#: The alias whose version answers.
_CHAMPION = "champion"


def utc_now() -> datetime:
    """The clock of records."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """All of the store's rooms on one database."""

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
    shelf: PackageStore


def open_store(settings: Settings, *, migrated: bool = False, begins: bool = True) -> Store:
    """The store of this home, its schema brought up to date unless a parent has done so.

    begins: whether a database is created where this home never had one; where it had one, none ever is. Commands that only look say
    no. Raises DatabaseUnavailableError, InvalidSettingError, and UsersLostError where the home knows of users and the database of none.
    """
    # The database's libraries take half a second to load; a supervisor whose store is already migrated never needs them.
    from relevo.server.encryption_keys import sealing_of
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
    # Who finds the store migrated must start, too, while it is away, and never make an empty one in its place.
    make = begins and not migrated and identity.known() is None and not had_users(settings.home)
    engine = connect(settings.store_url, make=make, identity=identity)
    if not migrated:
        check_users(settings, engine)
        migrate(engine)
    blobs = Blobs(settings.blobs_folder)
    sealing = sealing_of(settings, engine)
    ring = AuditKeyRing(settings.keys_folder)
    audit, trail = AuditLog(ring.current(), ring=ring), AuditReader(engine)
    if not migrated:
        # No loop may be running; beside the server's workers there is one, which looks each second.
        audit.witnessed_by(_both(witness_of(settings, trail, audit), told_elsewhere(settings, trail, audit)))
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
        shelf=PackageStore(settings.packages_folder),
    )


def witness_of(settings: Settings, trail: AuditReader, audit: AuditLog) -> Callable[[], None]:
    """Writes the head of the audit down when there is a new one; never raises, for the change itself is made by then."""
    from relevo.store.audit.checkpoints import Checkpoints

    heads = Checkpoints(settings.audit_folder, trail, audit)
    told = ""

    def look() -> None:
        nonlocal told
        try:
            heads.look(utc_now())
            told = ""
        except (OSError, RelevoError) as cause:
            if str(cause) != told:
                told = str(cause)
                log.warning("the head of the audit was not written down: %s", told, extra={"action": "audit.heads"})

    return look


def told_elsewhere(settings: Settings, trail: AuditReader, audit: AuditLog) -> Callable[[], None]:
    """Tells a new head of the audit to where audit_checkpoint_to says; it never raises. Raises ConfigError for a bad setting."""
    if not settings.audit_checkpoint_to:
        return lambda: None
    from relevo.server.checkpoint_export import HeadsElsewhere, sender_of

    send = sender_of(settings)
    return HeadsElsewhere(send, trail, audit, now=utc_now).look if send else lambda: None


def _both(*looks: Callable[[], None]) -> Callable[[], None]:
    def look() -> None:
        for one in looks:
            one()

    return look


def make_home(settings: Settings) -> None:
    """Make the folder of this home, or close an older one to everybody else. Raises ConfigError when it cannot be used."""
    home = settings.home
    try:
        if not home.is_dir():
            home.parent.mkdir(parents=True, exist_ok=True)
            home.mkdir(mode=_OWN_FOLDER, exist_ok=True)
    except OSError as cause:
        raise ConfigError(reason=f"the folder {home} cannot be made ({cause.strerror})") from cause
    _check_folders(settings)
    _close_to_others(home, _folders(settings))


def check_home(settings: Settings) -> None:
    """See before long work whether this home can be used; makes nothing. Raises ConfigError as `make_home` does."""
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


def _close_to_others(home: Path, folders: Iterable[Path]) -> None:
    """What people sent lies here: nobody but the owner reads it. A home that is somebody's project folder, too, stays open."""
    for path in (*folders, home / ROUTES_FILE, *home.glob("relevo.db*")):
        _only_mine(path)
    if (home / "relevo.db").exists() and not (home / "relevo.toml").exists():
        _only_mine(home)


def _only_mine(path: Path) -> None:
    # Not there, or somebody else's: then it is theirs to close.
    with contextlib.suppress(OSError):
        mode = path.stat(follow_symlinks=False).st_mode
        if mode & _OF_OTHERS and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~_OF_OTHERS)


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
    """Verify a package (folder or .zip), put it on the shelf, give it a version and the alias. Raises PackageError.

    The first version of a model is its champion too, whatever its alias. force: whether it becomes champion although clients of
    the one before would miss something, or it is worse. synonyms: names by which old clients ask for it, beside the package's.
    Raises PromotionRefusedError without force; then the version is registered, and the alias stands where it stood.
    """
    from relevo.package.package import open_package, replay_golden

    package = open_package(path)
    replay_golden(package)
    store = open_store(settings)
    with contextlib.closing(_Unpacked(package)) as unpacked:
        store.shelf.put(unpacked.folder, package.digest)
    now = utc_now()
    name = package.manifest.name
    summary = _summary(package)
    version = store.registry.add(model=name, digest=package.digest, summary=summary, who=who, at=now, synonyms=synonyms)
    try:
        move_alias(store, name, alias, version.number, who=who, why=why, at=now, force=force)
        if _CHAMPION not in store.registry.aliases(name):
            # A model without one answers nobody, whatever else its only version is called.
            store.registry.move_alias(name, _CHAMPION, version.number, who=who, why=why, at=now)
    finally:
        store.engine.dispose()
    return version


def champion_of(settings: Settings, model: str) -> int | None:
    """The number of the version that answers for the model."""
    store = open_store(settings, begins=False)
    number = store.registry.aliases(model).get(_CHAMPION)
    store.engine.dispose()
    return number


def move_alias(
    store: Store, model: str, alias: str, version: int, *, who: str, why: str, at: datetime, force: bool = False
) -> AliasMove:
    """Let the alias name another version. Raises PromotionRefusedError where that is to answer, and may not, without force."""
    from relevo.package.documents import takeover_of

    takeover = takeover_of(store.registry, store.shelf, model, version) if alias == _CHAMPION else None
    if takeover is None:
        return store.registry.move_alias(model, alias, version, who=who, why=why, at=at)
    why = takeover.allowed(why, force=force)
    return store.registry.move_alias(model, alias, version, who=who, why=why, at=at, expected=takeover.before)


class _Unpacked:
    """A package as a folder, which a .zip becomes for as long as it takes to copy it."""

    def __init__(self, package: Package) -> None:
        self._held = None if package.folder is not None else tempfile.TemporaryDirectory(prefix="relevo-")
        self.folder = package.folder or Path(self._held.name) / "package"  # type: ignore[union-attr]  # held when no folder is
        if self._held is not None:
            package.write(self.folder)

    def close(self) -> None:
        """Remove what was only there for the copy."""
        if self._held is not None:
            self._held.cleanup()


def _summary(package: Package) -> dict[str, Any]:
    manifest = package.manifest
    return {
        "task": manifest.output.task.value,
        "labels": list(manifest.output.labels),
        "input": msgspec.to_builtins(manifest.input)["type"],
        "description": manifest.description,
        "framework": manifest.lineage.framework,
        "metrics": {name: figure for name, figure in package.metrics.items() if name != "held_out"},
    }
