"""The bytes a worker holds are limited, and always released."""

from __future__ import annotations

import pytest

from relevo.errors import OverloadedByBytesError
from relevo.serve.byte_budget import ByteBudget


def test_what_does_not_fit_is_refused_and_not_counted() -> None:
    """Beyond the limit nothing is reserved, and released bytes can be reserved again."""
    room = ByteBudget(100)
    room.acquire(60)
    with pytest.raises(OverloadedByBytesError):
        room.acquire(41)
    assert room.used == 60
    room.release(60)
    room.acquire(100)


def test_a_block_that_fails_gives_its_bytes_back() -> None:
    """An exception inside the block releases its bytes."""
    room = ByteBudget(100)
    with pytest.raises(ValueError, match="broken"), room.reserve(70):
        raise ValueError("broken")
    assert room.used == 0
