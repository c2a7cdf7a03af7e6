"""Erasure of a subject: its rows, labels, large inputs and keys are deleted; a tombstone, an audit entry and others' data stay."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from typer.testing import CliRunner

from relevo.cli.app import app
from relevo.config import Settings
from relevo.domain.audit import Actor
from relevo.domain.prediction import Label, ReviewStatus
from relevo.errors import PredictionNotFoundError
from relevo.server.stores import open_store
from relevo.store.audit.reader import AuditReader
from relevo.store.erasure import Erasure
from relevo.store.files.blobs import Blobs
from relevo.store.labels.labels import Labels
from relevo.store.predictions import PredictionStore
from relevo.store.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from tests.store.conftest import Postgres

    from relevo.domain.prediction import PredictionRecord
    from relevo.store.audit.log import AuditLog

MS = 1_772_366_400_000
AT = datetime.fromtimestamp(MS / 1000, UTC)
BY = Actor(actor="user:1", address="10.0.0.1")
LARGE = b"large" * 8000


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def history(engine: Engine, blobs: Blobs) -> PredictionStore:
    return PredictionStore(engine, blobs)


@pytest.fixture
def erasure(engine: Engine, blobs: Blobs, audit_log: AuditLog) -> Erasure:
    return Erasure(engine, blobs, audit_log)


def test_only_data_of_the_subject_is_erased(
    engine: Engine,
    history: PredictionStore,
    erasure: Erasure,
    audit_log: AuditLog,
    tmp_path: Path,
    prediction: Callable[..., PredictionRecord],
) -> None:
    """Rows, labels and files of one subject are deleted; those of others stay, also a file that both used."""
    labels = Labels(engine, audit_log)
    own, shared = prediction(MS, subject="ana", input=b"own" * 8000), prediction(MS, subject="ana", input=LARGE)
    other = prediction(MS, subject="eva", input=LARGE)
    history.insert([own, shared, other])
    for one in (own, other):
        labels.put(Label(prediction=one.id, value="7", author="eva", source="api", at=AT, note="seen on Monday"))
    erased = erasure.erase("ana", at=AT, by=BY, reason="asked by letter")
    assert (erased.predictions, erased.labels, erased.keys) == (2, 1, 0)
    assert history.count() == 1
    assert (labels.for_prediction(own.id), len(labels.for_prediction(other.id))) == ([], 1)
    assert history.input(other.id)[1] == LARGE
    assert len([path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]) == 1
    with pytest.raises(PredictionNotFoundError):
        history.get(own.id)


def test_the_audit_contains_the_pseudonym_only(engine: Engine, erasure: Erasure) -> None:
    """The audit entry has actor, time and reason, and only the subject's pseudonym."""
    pseudonym = erasure.pseudonymize("patient 4711")
    erasure.erase(pseudonym, at=AT, by=BY, reason="asked by letter")
    head = AuditReader(engine).last_entry()
    assert head is not None
    assert (head.action, head.object, head.actor, head.reason) == (
        "subject.erase",
        f"subject:{pseudonym}",
        "user:1",
        "asked by letter",
    )
    assert "4711" not in str(head)


def test_the_audit_keeps_only_the_id_of_an_erased_prediction(
    engine: Engine, history: PredictionStore, erasure: Erasure, audit_log: AuditLog, prediction: Callable[..., PredictionRecord]
) -> None:
    """The audit contains only the id of a labelled prediction: no input, name, value, source, note or reason."""
    labelled, other = (prediction(MS, subject=erasure.pseudonymize("patient 17"), input=b"lung") for _ in range(2))
    history.insert([labelled, other])
    labels = Labels(engine, audit_log)
    value, author, source, note = told = ("malignant", "dr. eva", "letterbox", "seen on Monday")
    label = labels.put(Label(prediction=labelled.id, value=value, author=author, source=source, at=AT, note=note))
    labels.review(labelled.id, label.serial, ReviewStatus.ACCEPTED, reviewer="dr. leo", at=AT, reason="biopsy")
    erasure.erase(erasure.pseudonymize("patient 17"), at=AT, by=BY)
    kept = repr(AuditReader(engine).page().items)
    assert (str(UUID(bytes=labelled.id)) in kept, str(UUID(bytes=other.id)) in kept) == (True, False)
    assert not [word for word in (*told, "dr. leo", "biopsy", "patient 17", "lung") if word in kept]


def test_journal_records_of_an_erased_subject_are_dropped(
    history: PredictionStore, erasure: Erasure, tmp_path: Path, prediction: Callable[..., PredictionRecord]
) -> None:
    """A journal shipped after the erasure restores nothing of the subject; later predictions are stored."""
    before = prediction(MS - 1, subject="ana", input=b"own" * 8000)
    erasure.erase("ana", at=AT, by=BY)
    assert (
        history.insert_from_journal(
            "w/1.journal", 1, [before, prediction(MS - 1, subject="eva"), prediction(MS + 1, subject="ana")]
        )
        == 2
    )
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    with pytest.raises(PredictionNotFoundError):
        history.get(before.id)


def test_versions_registered_since_are_reported(
    engine: Engine, history: PredictionStore, erasure: Erasure, audit_log: AuditLog, prediction: Callable[..., PredictionRecord]
) -> None:
    """The report lists versions registered after the subject's first prediction; no earlier ones and no other models."""
    registry = Registry(engine, audit_log)
    for number, day in enumerate((-1, 1, 2)):
        at = AT + timedelta(days=day)
        registry.add(model="digits", digest=f"{number:064x}", summary={}, author="ana", at=at)
    registry.add(model="churn", digest="f" * 64, summary={}, author="ana", at=AT + timedelta(days=1))
    history.insert([prediction(MS, subject="ana")])
    erased = erasure.erase("ana", at=AT + timedelta(days=3), by=BY)
    assert [(one.model, one.version) for one in erased.versions] == [("digits", 2), ("digits", 3)]


def test_an_unknown_subject_gets_a_tombstone(
    history: PredictionStore, erasure: Erasure, prediction: Callable[..., PredictionRecord]
) -> None:
    """An unknown subject gets a tombstone, so that earlier records are dropped; erasing twice is harmless."""
    for _ in range(2):
        assert erasure.erase("ana", at=AT, by=BY).predictions == 0
    assert history.insert([prediction(MS - 1, subject="ana")]) == 0


def test_many_predictions_are_erased_at_once(
    history: PredictionStore, erasure: Erasure, prediction: Callable[..., PredictionRecord]
) -> None:
    """More predictions than one statement's limit are all deleted."""
    history.insert([prediction(MS, subject="ana") for _ in range(1201)])
    assert erasure.erase("ana", at=AT, by=BY).predictions == 1201
    assert history.count() == 0


class TestFilesOfTheDatabase:
    """Content of PostgreSQL's own files; SQLite's are checked with whole homes."""

    @pytest.fixture
    def backend(self) -> str:
        """PostgreSQL only."""
        return "postgresql"

    def test_rewritten_tables_hold_no_erased_data(
        self,
        engine: Engine,
        history: PredictionStore,
        erasure: Erasure,
        postgres: Postgres,
        prediction: Callable[..., PredictionRecord],
    ) -> None:
        """An erased input stays in PostgreSQL's files until its tables are rewritten; other inputs stay readable."""
        marker, other = (random.Random(seed).randbytes(64) for seed in (1, 2))  # noqa: S311 - bytes that no compression shortens
        kept = prediction(MS, subject="eva", input=other)
        history.insert([prediction(MS, subject="ana", input=marker), kept])
        history.insert([prediction(MS, subject="ana", label=f"a label of {marker.hex()}")])
        needles = [marker, marker.hex().encode()]

        def holding(some: list[bytes]) -> bool:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("CHECKPOINT")
            files = [path for path in Path(postgres.server.pgdata, "base").rglob("*") if path.is_file()]
            return any(needle in path.read_bytes() for path in files for needle in some)

        erasure.erase("ana", at=AT, by=BY)
        assert erasure.needs_vacuum
        assert holding(needles)
        erasure.vacuum()
        assert not holding(needles)
        assert holding([other])
        assert history.input(kept.id)[1] == other

    def test_the_command_warns_and_vacuums(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """On PostgreSQL the command warns without --vacuum; with it nothing erased is left in the tables' files."""
        monkeypatch.setenv("RELEVO_DATABASE_URL", url)
        settings = Settings(home=tmp_path / "home", database_url=url)
        store = open_store(settings)
        store.predictions.insert([prediction(MS, subject=store.erasure.pseudonymize("patient 4711"))])
        store.engine.dispose()
        asked = ["erase", "--subject", "patient 4711", "--yes", "--home", str(settings.home)]
        left = CliRunner().invoke(app, asked)
        assert "Erased: 1 predictions" in left.output
        assert "--vacuum" in left.stderr
        done = CliRunner().invoke(app, [*asked, "--vacuum"])
        assert (done.exit_code, "--vacuum" in done.stderr, "Written anew" in done.output) == (0, False, True)
        assert json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)["left_in_files"] is True
