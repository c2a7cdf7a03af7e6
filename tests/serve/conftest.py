"""Fixtures with a real journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relevo.recording.journal import Journal, JournalLimits
from relevo.recording.reader import JournalReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.domain.prediction import PredictionRecord


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    created = Journal(tmp_path / "spool" / "worker")
    yield created
    created.close()


@pytest.fixture
def full_journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal that has reached its limit and rejects every batch."""
    created = Journal(tmp_path / "spool" / "full", limits=JournalLimits(max_bytes=-1))
    yield created
    created.close()


@pytest.fixture
def recorded() -> Callable[[Journal], list[PredictionRecord]]:
    """The predictions in a journal, as a reader sees them."""

    def read(journal: Journal) -> list[PredictionRecord]:
        reader = JournalReader(journal.folder.parent)
        return [prediction for file in reader.files() for batch in reader.read(file, after=0) for prediction in batch.predictions]

    return read
