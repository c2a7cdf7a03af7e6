"""Schemas of the audit endpoints."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime  # noqa: TC003 - pydantic reads it when it makes the class
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from relevo.domain.audit import without_marks
from relevo.web.schemas.common import Lang  # noqa: TC001 - the same

if TYPE_CHECKING:
    from relevo.store.audit.reader import AuditEntry, AuditPage
    from relevo.store.auth.login_attempts import AttemptPage

_FilterText = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class AuditEntryOut(BaseModel):
    """One change, as the audit has it."""

    sequence: int
    at: datetime
    actor: str
    action: str
    object: str
    before: str
    after: str
    reason: str
    address: str
    mac: str

    @classmethod
    def from_domain(cls, entry: AuditEntry) -> AuditEntryOut:
        """From a stored entry."""
        return cls(
            sequence=entry.sequence,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            object=entry.object,
            before=entry.before,
            after=without_marks(entry.after),
            reason=entry.reason,
            address=entry.address,
            mac=entry.mac,
        )


class AuditPageOut(BaseModel):
    """Some changes, newest first; `next_cursor` asks for the older ones and is null on the last page."""

    items: list[AuditEntryOut]
    next_cursor: str | None

    @classmethod
    def from_domain(cls, page: AuditPage) -> AuditPageOut:
        """From a page of stored entries."""
        return cls(items=[AuditEntryOut.from_domain(entry) for entry in page.items], next_cursor=page.next_cursor)


class AuditQuery(BaseModel):
    """What narrows the audit."""

    model_config = ConfigDict(extra="forbid")

    object: _FilterText | None = None
    actor: _FilterText | None = None
    cursor: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    lang: Lang = None


class LoginAttemptOut(BaseModel):
    """Refused sign-ins of one hour that are alike; what was typed is kept nowhere."""

    user: str | None
    name: str | None
    #: Digest of an unknown user name: equal for equal names.
    mark: str
    address: str
    reason: str
    tries: int
    first: datetime
    last: datetime


class LoginAttemptPage(BaseModel):
    """Some refused sign-ins, newest first; `next_cursor` asks for the older ones and is null on the last page."""

    items: list[LoginAttemptOut]
    next_cursor: str | None

    @classmethod
    def from_domain(cls, page: AttemptPage) -> LoginAttemptPage:
        """From a page of stored attempts."""
        return cls(items=[LoginAttemptOut(**asdict(attempt)) for attempt in page.items], next_cursor=page.next_cursor)


class LoginAttemptQuery(BaseModel):
    """Where the page of refused sign-ins begins."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    lang: Lang = None
