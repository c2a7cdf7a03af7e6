"""Test support, for Relevo's own tests and those of projects that build on it.

with memory_store() as store:
    store.registry.add(…); store.history.record([…]); store.labels.put(…)
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.store.audit.log import AuditLog
from relevo.store.audit.reader import AuditReader
from relevo.store.auth.users import Users
from relevo.store.db.engine import connect, write_transaction
from relevo.store.db.tables import create
from relevo.store.erasure import Erasure
from relevo.store.files.blobs import Blobs
from relevo.store.labels.labels import Labels
from relevo.store.labels.queue import LabelQueue
from relevo.store.predictions import PredictionStore
from relevo.store.registry import Registry
from relevo.store.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStore:
    """The real store on an in-memory database. Lifetime: the `with` block."""

    engine: Engine
    registry: Registry
    predictions: PredictionStore
    labels: Labels
    traffic: Traffic
    label_queue: LabelQueue
    users: Users
    audit: AuditLog
    audit_reader: AuditReader
    erasure: Erasure


@contextmanager
def memory_store() -> Iterator[MemoryStore]:
    """An empty in-memory store with the full schema. Threads of this process share its single connection."""
    engine = connect("sqlite://")
    audit = AuditLog(b"audit key for tests")
    try:
        with write_transaction(engine) as connection:
            create(connection)
        yield MemoryStore(
            engine=engine,
            registry=Registry(engine, audit),
            predictions=PredictionStore(engine),
            labels=Labels(engine, audit),
            traffic=Traffic(engine),
            label_queue=LabelQueue(engine),
            users=Users(engine, audit),
            audit=audit,
            audit_reader=AuditReader(engine),
            erasure=Erasure(engine, Blobs(Path("no-blobs-here")), audit),
        )
    finally:
        engine.dispose()
