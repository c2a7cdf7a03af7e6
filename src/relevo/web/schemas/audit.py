"""What the audit's addresses take and give."""

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

_Thing = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class LinkView(BaseModel):
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
    seal: str

    @classmethod
    def of(cls, link: AuditEntry) -> LinkView:
        """A stored link."""
        return cls(
            sequence=link.sequence,
            at=link.at,
            actor=link.actor,
            action=link.action,
            object=link.object,
            before=link.before,
            after=without_marks(link.after),
            reason=link.reason,
            address=link.address,
            seal=link.seal,
        )


class TrailView(BaseModel):
    """Some changes, newest first; `next_cursor` asks for the older ones and is null on the last page."""

    items: list[LinkView]
    next_cursor: str | None

    @classmethod
    def of(cls, page: AuditPage) -> TrailView:
        """A page of the store."""
        return cls(items=[LinkView.of(link) for link in page.items], next_cursor=page.next_cursor)


class TrailWindow(BaseModel):
    """What narrows the audit."""

    model_config = ConfigDict(extra="forbid")

    object: _Thing | None = None
    actor: _Thing | None = None
    cursor: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    lang: Lang = None


class AttemptView(BaseModel):
    """Refused sign-ins of one hour that are alike; what was typed is kept nowhere."""

    user: str | None
    name: str | None
    #: Of a name that nobody has: equal for equal names.
    mark: str
    address: str
    reason: str
    tries: int
    first: datetime
    last: datetime


class AttemptsView(BaseModel):
    """Some refused sign-ins, newest first; `next_cursor` asks for the older ones and is null on the last page."""

    items: list[AttemptView]
    next_cursor: str | None

    @classmethod
    def of(cls, page: AttemptPage) -> AttemptsView:
        """A page of the store."""
        return cls(items=[AttemptView(**asdict(one)) for one in page.items], next_cursor=page.next_cursor)


class AttemptWindow(BaseModel):
    """Where the page of refused sign-ins begins."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    lang: Lang = None
