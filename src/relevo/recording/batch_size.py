"""How many predictions go into one transaction of the store, while others who want to write wait for its end.

    took long ─► half as many        took a moment ─► twice as many, up to where more saves nothing

On a busy machine the loop gives way to the workers in the middle of a transaction, too: what takes hundredths of a second there
takes seconds here, and a person who moves an alias or adds a user would be told that the database does not answer.
"""

from __future__ import annotations

_MOST = 2500
_FEWEST = 100
_LONG_S = 0.25
_MOMENT_S = 0.1


class AdaptiveBatchSize:
    """The size of the next transaction; lives as long as the loop."""

    def __init__(self) -> None:
        #: Predictions, about: a worker's batch is never cut.
        self.rows = _MOST // 4

    def took(self, seconds: float) -> None:
        """Judge the size by how long the last transaction took, the files written ahead of it included."""
        if seconds > _LONG_S:
            self.rows = max(self.rows // 2, _FEWEST)
        elif seconds < _MOMENT_S:
            self.rows = min(self.rows * 2, _MOST)
