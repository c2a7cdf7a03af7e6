"""Endpoint that erases a data subject: everything stored about it, and everything in journals not yet shipped."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath

from relevo.recording.journal import remove_damaged, remove_kept, request_rotation
from relevo.web.auth.guard import audit_actor
from relevo.web.context import app_context
from relevo.web.predict.subjects import MAX_SUBJECT_LENGTH, validate_subject
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import Remark  # noqa: TC001 - FastAPI reads it when it makes the route
from relevo.web.schemas.erasure import ErasureOut

router = APIRouter(prefix="/subjects", tags=["subjects"])

Subject = Annotated[str, InPath(description="As the header Relevo-Subject named it", max_length=MAX_SUBJECT_LENGTH)]


@router.delete("/{subject:path}", summary="Erase a subject", responses=error_responses(422, 503))
def erase_subject(request: Request, subject: Subject, reason: Annotated[Remark, Query()] = "") -> ErasureOut:
    """Destroy its keys and remove predictions, labels and stored inputs; the audit keeps a pseudonym. Raises InvalidParameterError."""
    context = app_context(request)
    pseudonym = context.erasure.pseudonymize(validate_subject(subject))
    report = context.erasure.erase(pseudonym, at=context.now(), by=audit_actor(request), reason=reason)
    remove_damaged(context.settings.spool_folder)
    remove_kept(context.settings.spool_folder)
    request_rotation(context.settings.spool_folder)
    return ErasureOut.from_domain(report, left_in_files=context.erasure.needs_vacuum)
