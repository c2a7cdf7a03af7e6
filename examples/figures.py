"""A figure an example promises, and whether it was reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One promised figure on data that training never saw."""

    name: str
    reached: float
    promised: float
    #: True where the promise also holds for what is shipped in place of the real data.
    always: bool = False

    @property
    def problem(self) -> str:
        """What is wrong with it, or nothing."""
        return f"{self.name} is {self.reached:.4f}, below the promised {self.promised:.4f}" if self.reached < self.promised else ""

    def __str__(self) -> str:
        """As it is told."""
        return f"{self.name} {self.reached:.4f} (promised {self.promised:.4f})"
