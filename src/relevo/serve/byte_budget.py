"""Limits the input bytes that one worker holds in memory: bodies being read, and large images that wait to be decoded.

take(n) ─ above the limit? ─► OverloadedByBytesError
give(n) ─► frees them again
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from relevo.errors import OverloadedByBytesError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB = 2**20
#: Default limit of a worker in bytes: twelve bodies of the largest size allowed by default.
DEFAULT_BYTES = 256 * _MIB


class ByteBudget:
    """Counts bytes against a limit. Lifetime: the worker. Only the worker's event loop uses it."""

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        self._limit = limit
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes held now."""
        return self._used

    def acquire(self, size: int) -> None:
        """Reserve bytes. Raises OverloadedByBytesError, and then reserves none."""
        if self._used + size > self._limit:
            raise OverloadedByBytesError(limit=self._limit // _MIB)
        self._used += size

    def release(self, size: int) -> None:
        """Release bytes."""
        self._used -= size

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Reserve bytes for the duration of a block. Raises OverloadedByBytesError."""
        self.acquire(size)
        try:
            yield
        finally:
            self.release(size)
