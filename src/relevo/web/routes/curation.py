"""What is fit to be learnt from, over HTTP: how much is kept, and each exclusion with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from relevo.domain import ids
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.labels import CleaningPage, CleaningWindow

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(prefix="/models/{name}/cleaning", tags=["labels"])


@router.get("", summary="What of the labelled is fit to be learnt from", responses=error_responses(404, 422, 503))
def cleaning(request: Request, name: str, narrow: Annotated[CleaningWindow, Query()]) -> CleaningPage:
    """Copies, unreadable inputs, contradicting labels and one author's flood are left out, each with its reason.

    Every labelled input is read, so the first look at many takes a while. Raises ModelNotFoundError.
    """
    parts: AppContext = request.app.state.parts
    parts.registry.aliases(name)  # which raises for a model that is not there
    after = ids.raw(narrow.cursor) if narrow.cursor else None
    return CleaningPage.of(parts.clean(name), after or b"", narrow.limit)
