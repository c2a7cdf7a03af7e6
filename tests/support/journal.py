"""Predictions by the handful, what a spool holds, and a small disk of its own."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from relevo.domain.ids import new_id
from relevo.domain.prediction import Arm, InputKind, PredictionRecord
from relevo.recording.reader import JournalReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def prediction(size: int = 10, **changes: Any) -> PredictionRecord:
    """One prediction of now with an input of `size` bytes."""
    facts: dict[str, Any] = {
        "id": new_id(time.time_ns() // 1_000_000),
        "at_us": time.time_ns() // 1000,
        "model": "digits",
        "version": 1,
        "arm": Arm.CHAMPION,
        "propensity": 1.0,
        "epoch": 1,
        "kind": InputKind.IMAGE,
        "input": bytes(size),
        "input_bytes": size,
        "predicted_label": "7",
        "confidence": 0.9,
        "scores": b"\x00\x00\x80?",
        "latency_us": 800,
    }
    return PredictionRecord(**(facts | changes))


def ids_in(spool: Path) -> list[bytes]:
    """Ids of everything a spool holds, in the order in which it would be shipped."""
    reader = JournalReader(spool)
    return [it.id for file in reader.files() for batch in reader.read(file, after=0) for it in batch.predictions]


@contextmanager
def small_disk(place: Path, size: str = "2m") -> Iterator[Path]:
    """A disk of that size at `place`; the test is skipped where none may be mounted."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here; it takes root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
