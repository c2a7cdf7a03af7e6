"""Erasing whom inputs are about: everything of a subject that Relevo keeps, and what is still on its way to be kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath

from relevo.recording.journal import remove_damaged, remove_kept, request_rotation
from relevo.web.auth.guard import audit_actor
from relevo.web.predict.subjects import MOST_LETTERS, validate_subject
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import Remark  # noqa: TC001 - FastAPI reads it when it makes the route
from relevo.web.schemas.erasure import ErasedView

router = APIRouter(prefix="/subjects", tags=["subjects"])

Subject = Annotated[str, InPath(description="As the header Relevo-Subject named it", max_length=MOST_LETTERS)]


@router.delete("/{subject:path}", summary="Erase a subject", responses=error_responses(422, 503))
def erase(request: Request, subject: Subject, reason: Annotated[Remark, Query()] = "") -> ErasedView:
    """Destroy its keys and remove predictions, labels and stored inputs; the audit keeps a pseudonym. Raises InvalidParameterError."""
    parts = request.app.state.parts
    pseudonym = parts.erasing.pseudonym(validate_subject(subject))
    erased = parts.erasing.erase(pseudonym, at=parts.now(), by=audit_actor(request), reason=reason)
    remove_damaged(parts.settings.spool_folder)
    remove_kept(parts.settings.spool_folder)
    request_rotation(parts.settings.spool_folder)
    return ErasedView.of(erased, left_in_files=parts.erasing.leaves_bytes)
