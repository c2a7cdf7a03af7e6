"""What tests may use, ours and those of people who build on Relevo.

with memory_store() as store:
    store.registry.add(…); store.history.record([…]); store.labels.put(…)
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.store.audit.log import Audit
from relevo.store.audit.reader import Trail
from relevo.store.auth.users import People
from relevo.store.db.engine import connect, writing
from relevo.store.db.tables import create
from relevo.store.erasure import Erasing
from relevo.store.files.blobs import Blobs
from relevo.store.labels.labels import Labels
from relevo.store.labels.queue import Asking
from relevo.store.predictions import History
from relevo.store.registry import Registry
from relevo.store.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStore:
    """The real store on a database in memory; lives as long as its `with` block."""

    engine: Engine
    registry: Registry
    history: History
    labels: Labels
    traffic: Traffic
    asking: Asking
    people: People
    audit: Audit
    trail: Trail
    erasing: Erasing


@contextmanager
def memory_store() -> Iterator[MemoryStore]:
    """An empty store in memory, of the full schema. Threads of this process share its one connection in turn."""
    engine = connect("sqlite://")
    audit = Audit(b"a key that lives as long as a test")
    try:
        with writing(engine) as connection:
            create(connection)
        yield MemoryStore(
            engine=engine,
            registry=Registry(engine, audit),
            history=History(engine),
            labels=Labels(engine, audit),
            traffic=Traffic(engine),
            asking=Asking(engine),
            people=People(engine, audit),
            audit=audit,
            trail=Trail(engine),
            erasing=Erasing(engine, Blobs(Path("no-blobs-here")), audit),
        )
    finally:
        engine.dispose()
