"""What erasing a subject answers."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it when it makes the class
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from relevo.store.erasure import ErasureReport


class MadeSinceView(BaseModel):
    """A version made after the first of what was erased had been recorded: it may have learnt from it."""

    model: str
    version: int
    at: datetime


class ErasedView(BaseModel):
    """What was erased."""

    subject: str  # the pseudonym, as the audit has it
    predictions: int
    labels: int
    keys: int
    versions: list[MadeSinceView]
    #: Whether the database's files hold what was not sealed until its tables are written anew (PostgreSQL).
    left_in_files: bool

    @classmethod
    def of(cls, erased: ErasureReport, *, left_in_files: bool) -> ErasedView:
        """What the store tells."""
        versions = [MadeSinceView(model=one.model, version=one.version, at=one.at) for one in erased.versions]
        return cls(
            subject=erased.subject,
            predictions=erased.predictions,
            labels=erased.labels,
            keys=erased.keys,
            versions=versions,
            left_in_files=left_in_files,
        )
