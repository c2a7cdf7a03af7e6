"""Endpoints of the prediction history: pages of predictions, one prediction, and its input as a download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import anyio
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool

from relevo.domain import ids
from relevo.domain.access import MIN_ROLE, Action, Principal
from relevo.domain.prediction import InputKind
from relevo.errors import PredictionNotFoundError
from relevo.runtime.image import ImageLimits
from relevo.web.auth.guard import principal_of, require_permission, wants_html
from relevo.web.context import app_context
from relevo.web.pages import model_page
from relevo.web.pages.error_page import bare_page_context
from relevo.web.pages.templating import render
from relevo.web.pages.thumbnails import reencode
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import PredictionOut, PredictionPage, PredictionQuery

if TYPE_CHECKING:
    from relevo.store.predictions import StoredPrediction
    from relevo.web.context import AppContext

router = APIRouter(prefix="/predictions", tags=["history"])

#: In s; a younger prediction may not have reached the store from its journal yet.
_FRESH_SECONDS = 10.0
_WAIT_SECONDS = 2.0
_POLL_SECONDS = 0.05

QueryId = Annotated[str, InPath(description="The query_id of an answer", json_schema_extra={"format": "uuid"}, max_length=64)]


@router.get("", summary="The history, newest first", responses=error_responses(422, 503))
def list_predictions(request: Request, query: Annotated[PredictionQuery, Query()]) -> PredictionPage:
    """A page of the history, with the label that counts for each prediction."""
    context = app_context(request)
    page = context.predictions.page(**query.model_dump(exclude={"lang"}), models=visible_models(request, query.model))
    labels = context.labels.resolved_many([stored.prediction.id for stored in page.items])
    names = context.users.names_of(stored.prediction.requested_by for stored in page.items)
    items = [PredictionOut.from_domain(stored, labels.get(stored.prediction.id), names) for stored in page.items]
    return PredictionPage(items=items, next_cursor=page.next_cursor)


@router.get("/{query_id}", summary="One prediction", response_model=PredictionOut, responses=error_responses(404, 422, 503))
async def get_prediction(request: Request, query_id: QueryId) -> PredictionOut | Response:
    """For a person with a browser, a page of it. Raises PredictionNotFoundError."""
    view = await _prediction_view(request, query_id)
    if not wants_html(request.scope):
        return view
    context = bare_page_context(request.scope, app_context(request).settings.language)
    may_see = view.input_kept and principal_of(request).can(Action.READ_INPUTS, view.model)
    variables = {**model_page.base_context(None, context), "prediction": view, "input": may_see}
    response = Response(await run_in_threadpool(render, "prediction.html", context.language, **variables))
    response.raw_headers = [*model_page.HTML_HEADERS, (b"content-length", b"%d" % len(response.body))]
    return response


async def _prediction_view(request: Request, query_id: str) -> PredictionOut:
    context = app_context(request)
    stored = await get_visible_prediction(context, query_id, principal_of(request), Action.READ_PREDICTIONS)
    label = await run_in_threadpool(context.labels.resolved, stored.prediction.id)
    names = await run_in_threadpool(context.users.names_of, [stored.prediction.requested_by])
    return PredictionOut.from_domain(stored, label, names)


@router.get(
    "/{query_id}/input",
    summary="What was asked: the image as a fresh PNG, or the record as JSON",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}, "application/json": {"schema": {}}}},
        **error_responses(404, 422, 503),
    },
)
async def get_input(
    request: Request,
    query_id: QueryId,
    side: Annotated[int | None, Query(description="Shrink an image to so many pixels a side", ge=16, le=4096)] = None,
) -> Response:
    """A download, never shown by the browser; an image's pixels only. Raises PredictionNotFoundError, InputNotStoredError."""
    context, principal = app_context(request), principal_of(request)
    stored = await get_visible_prediction(context, query_id, principal)
    may_label = principal.can(Action.LABEL, stored.prediction.model)
    if not (
        may_label and await run_in_threadpool(context.label_queue.was_asked, stored.prediction.id, principal.id, now=context.now())
    ):
        require_permission(principal, Action.READ_INPUTS, stored.prediction.model)
    return await run_in_threadpool(_download, context, stored, side)


def _download(context: AppContext, stored: StoredPrediction, side: int | None) -> Response:
    kind, data = context.predictions.input(stored.prediction.id)
    ending = "json"
    if kind is InputKind.IMAGE:
        settings = context.settings
        data = reencode(data, ImageLimits(max_pixels=settings.max_pixels, max_side=settings.max_side), side=side)
        ending = "png"
    name = f"{ids.text(stored.prediction.id)}.{ending}"
    return Response(
        data,
        headers={
            "content-type": "image/png" if kind is InputKind.IMAGE else "application/json",
            "content-disposition": f'attachment; filename="{name}"',
        },
    )


def visible_models(request: Request, requested: str | None, action: Action = Action.READ_PREDICTIONS) -> list[str] | None:
    """The models for which the principal may do this; None for all.

    Raises ModelNotFoundError, PermissionDeniedError for the requested model.
    """
    principal = principal_of(request)
    if requested is not None:
        require_permission(principal, action, requested)
        return None
    if principal.restricted_to is not None:
        return [principal.restricted_to] if principal.can(action, principal.restricted_to) else []
    if principal.role is not None and principal.role.includes(MIN_ROLE[action]):
        return None
    return sorted(model for model in principal.grants if principal.can(action, model))


async def get_visible_prediction(
    context: AppContext, query_id: str, principal: Principal, action: Action | None = None
) -> StoredPrediction:
    """The prediction with this id. Predictions of models that the principal may not see are not found.

    action: the permission to check; None if the caller checks it.

    Raises PredictionNotFoundError, PermissionDeniedError.
    """
    stored = await _poll_prediction(context, query_id)
    if not principal.can_see(stored.prediction.model):
        raise PredictionNotFoundError
    if action is not None:
        require_permission(principal, action, stored.prediction.model)
    return stored


async def _poll_prediction(context: AppContext, query_id: str) -> StoredPrediction:
    """Polls for a new prediction until its journal has been shipped. Raises PredictionNotFoundError."""
    key = ids.raw(query_id)
    if key is None:
        raise PredictionNotFoundError
    age = context.now().timestamp() - int.from_bytes(key[:6], "big") / 1000
    polls = round(_WAIT_SECONDS / _POLL_SECONDS) if abs(age) < _FRESH_SECONDS else 0
    for _ in range(polls):
        try:
            return await run_in_threadpool(context.predictions.get, key)
        except PredictionNotFoundError:
            await anyio.sleep(_POLL_SECONDS)
    return await run_in_threadpool(context.predictions.get, key)
