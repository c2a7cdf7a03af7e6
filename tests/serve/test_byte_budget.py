"""Bytes held by a worker have a bound, and none are counted for ever."""

from __future__ import annotations

import pytest

from relevo.errors import OverloadedByBytesError
from relevo.serve.byte_budget import ByteBudget


def test_what_does_not_fit_is_refused_and_not_counted() -> None:
    """Beyond the bound nothing is taken, and what was given back makes room."""
    room = ByteBudget(100)
    room.take(60)
    with pytest.raises(OverloadedByBytesError):
        room.take(41)
    assert room.held == 60
    room.give(60)
    room.take(100)


def test_a_block_that_fails_gives_its_bytes_back() -> None:
    """An exception inside the block leaves nothing held."""
    room = ByteBudget(100)
    with pytest.raises(ValueError, match="broken"), room.holding(70):
        raise ValueError("broken")
    assert room.held == 0
