"""How many bytes of inputs one worker holds at a time: bodies being read, and large pictures that wait to be decoded.

take(n) ─ too many? ─► OverloadedByBytesError
give(n) ─► room for others
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from relevo.errors import OverloadedByBytesError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB = 2**20
#: Bytes a worker holds unless told otherwise: a dozen of the largest bodies that are taken by default.
DEFAULT_BYTES = 256 * _MIB


class ByteBudget:
    """Counts bytes against a bound; lives as long as the worker, and is used by its event loop alone."""

    def __init__(self, most: int = DEFAULT_BYTES) -> None:
        self._most = most
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes held now."""
        return self._held

    def take(self, size: int) -> None:
        """Hold so many more. Raises OverloadedByBytesError, and then holds none of them."""
        if self._held + size > self._most:
            raise OverloadedByBytesError(limit=self._most // _MIB)
        self._held += size

    def give(self, size: int) -> None:
        """Hold so many less."""
        self._held -= size

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold so many bytes for a block. Raises OverloadedByBytesError."""
        self.take(size)
        try:
            yield
        finally:
            self.give(size)
