"""The public test support."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relevo.testing import memory_store

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_store_in_memory_is_the_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An in-memory store registers, moves and records like any other, is isolated, and leaves no file."""
    monkeypatch.chdir(tmp_path)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    with memory_store() as store, memory_store() as other:
        store.registry.add(model="digits", digest="ab" * 32, summary={}, author="ana", at=at)
        store.registry.move_alias("digits", "champion", 1, author="ana", reason="first", at=at)
        assert [route.epoch for route in store.registry.routes()] == [1]
        assert store.predictions.count() == 0
        assert store.labels.resolved(bytes(16)) is None
        assert other.registry.models() == []
    assert list(tmp_path.iterdir()) == []
