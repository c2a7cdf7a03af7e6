"""Opens the store of a home: the database, the blobs, the packages, and the encryption of inputs.

Settings ─ open_store ─► Store
RELEVO_MASTER_KEY  >  file of master_key_file  >  keys/master.key in home, created when encrypt_inputs is on   ─► InputEncryption
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.server.home import check_users, had_users, make_home, note_users

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from relevo.config import Settings
    from relevo.domain.label_aggregation import LabelAggregation
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
    from relevo.store.registry import Registry
    from relevo.store.traffic import Traffic

#: Environment variable, or file in the folder of keys, of the master key.
MASTER_KEY_VARIABLE, _MASTER_KEY_FILE = "RELEVO_MASTER_KEY", "master.key"
_DAY_KEY_CACHE = "day.json"


def utc_now() -> datetime:
    """The current time, aware, for records."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The parts of the store, all on one database. Lifetime: the process."""

    engine: Engine
    registry: Registry
    predictions: PredictionStore
    labels: Labels
    traffic: Traffic
    label_queue: LabelQueue
    users: Users
    audit: AuditLog
    audit_reader: AuditReader
    encryption: InputEncryption | None
    erasure: Erasure
    blobs: Blobs
    packages: PackageStore


def open_store(settings: Settings, *, migrated: bool = False, begins: bool = True) -> Store:
    """Opens the store of this home. migrated: whether the parent process has migrated the schema.

    begins: whether a database is created in a home that never had one; a lost database is never created again. False for commands
    that only read. Raises DatabaseUnavailableError, InvalidSettingError, UsersLostError when a home with users has an empty user table.
    """
    # The database libraries take half a second to load, and not every process needs them.
    from relevo.server.checkpoint_export import checkpoint_exporter, checkpoint_writer
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
    encryption = input_encryption(settings, engine)
    ring = AuditKeyRing(settings.keys_folder)
    audit, trail = AuditLog(ring.current(), ring=ring), AuditReader(engine)
    if not migrated:
        # For commands without a background process; next to the workers one runs, which polls each second.
        save, export = checkpoint_writer(settings, trail, audit), checkpoint_exporter(settings, trail, audit)
        audit.on_commit(save, export)
    return Store(
        engine=engine,
        registry=Registry(engine, audit),
        predictions=PredictionStore(engine, blobs, encryption),
        labels=Labels(engine, audit, Notes(engine, encryption, encrypts=settings.encrypt_inputs == "on")),
        traffic=Traffic(engine),
        label_queue=LabelQueue(engine, share=settings.label_sampling_rate),
        users=Users(engine, audit, noted=partial(note_users, settings.home)),
        audit=audit,
        audit_reader=trail,
        encryption=encryption,
        erasure=Erasure(engine, blobs, audit),
        blobs=blobs,
        packages=PackageStore(settings.packages_folder),
    )


def label_aggregation(settings: Settings) -> LabelAggregation:
    """The configured rule that resolves several labels of one prediction, with the trusted authors."""
    from relevo.domain.label_aggregation import AggregationStrategy, LabelAggregation

    return LabelAggregation(strategy=AggregationStrategy(settings.label_aggregation), trusted_sources=settings.trusted_names)


def input_encryption(settings: Settings, engine: Engine) -> InputEncryption | None:
    """Encryption of this home's inputs; None when it has no master key. Raises ConfigError, MissingDependencyError."""
    from relevo.store.encryption import InputEncryption

    is_on = settings.encrypt_inputs == "on"
    if not is_on and find_spec("cryptography") is None:
        return None
    master = master_key(settings, make=is_on)
    return None if master is None else InputEncryption(engine, master, remembered=settings.keys_folder / _DAY_KEY_CACHE)


def master_key(settings: Settings, *, make: bool) -> bytes | None:
    """The master key; None when there is none and make is false. A configured file must exist. Raises ConfigError."""
    from relevo.store.files.key_files import load_or_create_key, parse_key

    if text := os.environ.get(MASTER_KEY_VARIABLE):
        return parse_key(text, f"the variable {MASTER_KEY_VARIABLE}")
    if settings.master_key_file:
        return load_or_create_key(Path(settings.master_key_file), make=False)
    default_file = settings.keys_folder / _MASTER_KEY_FILE
    return load_or_create_key(default_file) if make or default_file.exists() else None
