"""Retention: old predictions and surplus inputs are deleted in batches, with labels, files and day keys, and the audit has the counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from relevo.domain.prediction import Label
from relevo.errors import InputNotStoredError
from relevo.store.audit.reader import AuditReader
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import data_keys
from relevo.store.encryption import InputEncryption
from relevo.store.files.blobs import Blobs
from relevo.store.labels.labels import Labels
from relevo.store.predictions import PredictionStore
from relevo.store.retention import Removed, Retention

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from relevo.domain.prediction import PredictionRecord
    from relevo.store.audit.log import AuditLog

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
DAY = 86_400_000
MS = int(NOW.timestamp() * 1000)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def history(engine: Engine, blobs: Blobs) -> PredictionStore:
    return PredictionStore(engine, blobs)


@pytest.fixture
def keep(engine: Engine, blobs: Blobs, audit_log: AuditLog) -> Callable[..., Retention]:
    return lambda days=0, megabytes=0: Retention(engine, blobs, audit_log, days=days, megabytes=megabytes)


def test_old_predictions_are_deleted(
    engine: Engine,
    history: PredictionStore,
    audit_log: AuditLog,
    keep: Callable[..., Retention],
    prediction: Callable[..., PredictionRecord],
) -> None:
    """Predictions older than thirty days are deleted with labels and files, in batches; younger ones stay; the audit has the number."""
    old = [prediction(MS - 30 * DAY - 1, input=b"x" * 20_000 if not number else b"x") for number in range(700)]
    young = prediction(MS - 30 * DAY + 1)
    history.insert([*old, young])
    labels = Labels(engine, audit_log)
    labels.put(Label(prediction=old[0].id, value="7", author="ana", source="api", at=NOW))
    assert keep(days=30).apply_age(NOW) == Removed(predictions=700)
    assert [one.prediction.id for one in history.page().items] == [young.id]
    assert labels.for_prediction(old[0].id) == []
    head = AuditReader(engine).last_entry()
    assert head is not None
    assert (head.actor, head.after) == ("retention", "predictions:700 inputs:0")
    assert not keep(days=30).apply_age(NOW).any
    assert AuditReader(engine).last_entry() == head


def test_zero_means_unlimited(
    history: PredictionStore, keep: Callable[..., Retention], prediction: Callable[..., PredictionRecord]
) -> None:
    """Zero means unlimited."""
    history.insert([prediction(1)])
    assert not keep().apply_age(NOW).any
    assert not keep().apply_size(NOW).any
    assert history.count() == 1


def test_surplus_inputs_are_deleted(
    history: PredictionStore, tmp_path: Path, keep: Callable[..., Retention], prediction: Callable[..., PredictionRecord]
) -> None:
    """Above one MiB the oldest inputs are deleted, in rows and in Blobs, and no more than needed."""
    sizes = [300_000, 10_000, 400_000, 600_000]
    some = [prediction(MS + number, input=bytes([number]) * size, input_bytes=size) for number, size in enumerate(sizes)]
    history.insert(some)
    assert keep(megabytes=1).apply_size(NOW) == Removed(inputs=1)
    with pytest.raises(InputNotStoredError):
        history.input(some[0].id)
    assert [len(history.input(one.id)[1]) for one in some[1:]] == sizes[1:]
    assert history.count() == 4
    assert len([path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]) == 2
    assert not keep(megabytes=1).apply_size(NOW).any


def test_keys_of_old_days_are_destroyed(engine: Engine, keep: Callable[..., Retention]) -> None:
    """The key of a day without predictions is destroyed; those of later days and of subjects stay."""
    pytest.importorskip("cryptography", reason="sealing is an extra")
    encryption = InputEncryption(engine, bytes(32))
    for days in (40, 30, 0):
        encryption.load_day_key(NOW - timedelta(days=days))
    encryption.prepare("ana", at=NOW - timedelta(days=40))
    keep(days=30).apply_age(NOW)
    with read_transaction(engine) as connection:
        left = connection.scalars(select(data_keys.c.subject).where(data_keys.c.wrapped.is_not(None))).all()
    assert set(left) == {"day:2026-03-01", "day:2026-03-31", "ana"}
