"""Schemas of the erasure endpoint."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it when it makes the class
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from relevo.store.erasure import ErasureReport


class VersionTrainedSinceOut(BaseModel):
    """A version made after the first of what was erased had been recorded: it may have learnt from it."""

    model: str
    version: int
    at: datetime


class ErasureOut(BaseModel):
    """What was erased."""

    subject: str  # pseudonym, as in the audit log
    predictions: int
    labels: int
    keys: int
    versions: list[VersionTrainedSinceOut]
    #: Whether unencrypted data stays in the database files until the tables are rewritten (PostgreSQL).
    left_in_files: bool

    @classmethod
    def from_domain(cls, report: ErasureReport, *, left_in_files: bool) -> ErasureOut:
        """From the report of the store."""
        versions = [
            VersionTrainedSinceOut(model=version.model, version=version.version, at=version.at) for version in report.versions
        ]
        return cls(
            subject=report.subject,
            predictions=report.predictions,
            labels=report.labels,
            keys=report.keys,
            versions=versions,
            left_in_files=left_in_files,
        )
