"""Administration of a home: offline erasure, re-wrapping of data keys, rotation of the audit key, curation of labelled data.

erase_offline ─ erased in the store ─┬ no server runs ─► journals are shipped without the subject, the WAL is truncated
                                     └ a server runs ──► marker file: it rotates its journals, ships the old ones, truncates the WAL
rotate_audit_key ─ new key on disk ─► one transaction: the old key signs its last entry, the new key its first ─► audit.key
LabelCuration ─ labelled predictions + digests of their inputs ─► domain.curation.curate ─► CurationReport, cached while labels stay

Running servers use the new audit key from their next entry on.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from relevo.domain.audit import LOCAL_ACTOR
from relevo.domain.curation import LabelledExample, LabelVote, Reason, curate
from relevo.domain.label_aggregation import latest_by_author
from relevo.errors import ConfigError, InvalidInputError
from relevo.recording.journal import remove_damaged, remove_kept, request_rotation
from relevo.recording.reader import JournalReader, is_writer_dead
from relevo.recording.shipper import Shipper
from relevo.runtime.image import ImageLimits
from relevo.runtime.input_digest import content_digest
from relevo.server.stores import open_store, utc_now
from relevo.store.audit.keys import AuditKeyRing
from relevo.store.db.engine import truncate_wal, write_transaction
from relevo.store.files.key_files import load_or_create_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from relevo.config import Settings
    from relevo.domain.curation import CurationReport
    from relevo.domain.label_aggregation import LabelAggregation
    from relevo.domain.prediction import Label
    from relevo.store.audit.keys import KeyRotation
    from relevo.store.erasure import ErasureReport
    from relevo.store.labels.labels import Labels
    from relevo.store.predictions import PredictionStore, StoredInput

#: Limit of the age of a cached report, because the erasure of an input changes no label.
_CACHE_S = 60.0
_MAX_CACHED_REPORTS = 4


def erase_offline(settings: Settings, subject: str, *, why: str, vacuum: bool = False) -> ErasureReport:
    """Erases a subject by its name. vacuum: also rewrite PostgreSQL's tables. Raises DatabaseUnavailableError."""
    store = open_store(settings)
    reader = JournalReader(settings.spool_folder)
    journals = [path for path in settings.spool_folder.glob("*") if path.is_dir()]
    report = store.erasure.erase(store.erasure.pseudonymize(subject), at=utc_now(), by=LOCAL_ACTOR, reason=why)
    if all(map(is_writer_dead, journals)):
        # Without a running server, no other process would ship the journals or truncate the WAL.
        Shipper(reader, store.predictions).ship()
        truncate_wal(store.engine)
    remove_damaged(settings.spool_folder)
    remove_kept(settings.spool_folder)
    request_rotation(settings.spool_folder)
    if vacuum:
        store.erasure.vacuum()
    store.engine.dispose()
    return report


def rewrap_offline(settings: Settings, to: Path) -> int:
    """Wraps every data key with the master key in another file. Raises ConfigError while a server runs here, InputUndecryptableError."""
    if any(path.is_dir() and not is_writer_dead(path) for path in settings.spool_folder.glob("*")):
        raise ConfigError(reason="a server runs in this home; stop it before its master key is changed")
    store = open_store(settings, begins=False)
    if store.encryption is None:
        raise ConfigError(reason="nothing was ever sealed in this home")
    key_count = store.encryption.rewrap(load_or_create_key(to, make=False), store.audit, at=utc_now(), by=LOCAL_ACTOR)
    truncate_wal(store.engine)
    store.engine.dispose()
    return key_count


def rotate_audit_key(settings: Settings, *, why: str = "") -> KeyRotation:
    """Replaces the key that signs the audit log. Raises DatabaseUnavailableError, ConfigError."""
    store = open_store(settings, begins=False)
    ring = AuditKeyRing(settings.keys_folder)
    new_key = ring.generate()
    with write_transaction(store.engine) as connection:
        rotation = store.audit.rotate_key(connection, new_key, by=LOCAL_ACTOR, at=utc_now(), reason=why)
    ring.activate(new_key)
    store.engine.dispose()
    return rotation


class LabelCuration:
    """Selects the labelled predictions of a model that are fit for training. Lifetime: the process. Thread-safe: one run at a time."""

    def __init__(self, history: PredictionStore, labels: Labels, settings: Settings) -> None:
        self._history = history
        self._labels = labels
        self._max_author_share = settings.max_author_share
        self._limits = ImageLimits(max_pixels=settings.max_pixels, max_side=settings.max_side)
        self._lock = threading.Lock()
        self._cache: dict[tuple[str, str], tuple[float, CurationReport]] = {}  # (model, label state) → (monotonic seconds, report)

    def report(self, model: str) -> CurationReport:
        """Included and excluded examples, with reasons; the pages of one listing share it. Raises DatabaseUnavailableError."""
        with self._lock:
            key = (model, self._labels.fingerprint())
            created, report = self._cache.get(key, (0.0, None))
            if report is None or time.monotonic() - created > _CACHE_S:
                report = curate(self._examples(model), share=self._max_author_share)
                if len(self._cache) >= _MAX_CACHED_REPORTS:
                    self._cache.clear()
                self._cache[key] = (time.monotonic(), report)
            return report

    def _examples(self, model: str) -> Iterator[LabelledExample]:
        rule = self._labels.aggregation()
        for labels in self._labels.labelled(model):
            for stored in self._history.inputs(list(labels)):
                yield _example(stored.prediction, *self._content(stored), labels[stored.prediction], rule)

    def _content(self, stored: StoredInput) -> tuple[bytes | None, Reason | None]:
        if stored.data is None:
            return None, Reason.INPUT_NOT_KEPT
        try:
            return content_digest(stored.kind, stored.data, self._limits), None
        except InvalidInputError:
            return None, Reason.UNREADABLE


def _example(
    prediction: bytes, content: bytes | None, trouble: Reason | None, labels: Sequence[Label], rule: LabelAggregation
) -> LabelledExample:
    resolved = rule.resolve(labels)
    votes = tuple(LabelVote(value=label.value, trusted=rule.is_trusted(label)) for label in latest_by_author(labels))
    return LabelledExample(
        prediction=prediction,
        content=content,
        trouble=trouble,
        value=None if resolved is None else resolved.value,
        author="" if resolved is None else resolved.author,
        trusted=resolved is not None and rule.is_trusted(resolved),
        votes=votes,
    )
