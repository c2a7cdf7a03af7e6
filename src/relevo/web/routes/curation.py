"""Endpoint of label curation: how many labels are usable for training, and each exclusion with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from relevo.domain import ids
from relevo.web.context import app_context
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.labels import CurationPage, CurationQuery

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(prefix="/models/{name}/cleaning", tags=["labels"])


@router.get("", summary="What of the labelled is fit to be learnt from", responses=error_responses(404, 422, 503))
def get_curation(request: Request, name: str, query: Annotated[CurationQuery, Query()]) -> CurationPage:
    """Copies, unreadable inputs, contradicting labels and one author's flood are left out, each with its reason.

    Every labelled input is read, so the first look at many takes a while. Raises ModelNotFoundError.
    """
    context: AppContext = app_context(request)
    context.registry.aliases(name)  # raises ModelNotFoundError for an unknown model
    after = ids.raw(query.cursor) if query.cursor else None
    return CurationPage.from_domain(context.curate(name), after or b"", query.limit)
