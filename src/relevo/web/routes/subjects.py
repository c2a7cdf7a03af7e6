"""Endpoint that erases a data subject: everything stored about it, and everything in journals not yet shipped."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath

from relevo.recording.journal import remove_damaged, remove_kept, request_rotation
from relevo.web.auth.guard import audit_actor
from relevo.web.predict.subjects import MAX_SUBJECT_LENGTH, validate_subject
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import Remark  # noqa: TC001 - FastAPI reads it when it makes the route
from relevo.web.schemas.erasure import ErasedView

router = APIRouter(prefix="/subjects", tags=["subjects"])

Subject = Annotated[str, InPath(description="As the header Relevo-Subject named it", max_length=MAX_SUBJECT_LENGTH)]


@router.delete("/{subject:path}", summary="Erase a subject", responses=error_responses(422, 503))
def erase_subject(request: Request, subject: Subject, reason: Annotated[Remark, Query()] = "") -> ErasedView:
    """Destroy its keys and remove predictions, labels and stored inputs; the audit keeps a pseudonym. Raises InvalidParameterError."""
    parts = request.app.state.parts
    pseudonym = parts.erasing.pseudonym(validate_subject(subject))
    report = parts.erasing.erase(pseudonym, at=parts.now(), by=audit_actor(request), reason=reason)
    remove_damaged(parts.settings.spool_folder)
    remove_kept(parts.settings.spool_folder)
    request_rotation(parts.settings.spool_folder)
    return ErasedView.from_domain(report, left_in_files=parts.erasing.leaves_bytes)
