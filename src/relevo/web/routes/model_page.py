"""Endpoints of the model page, its static files, and labelling without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from relevo.errors import BodyTooLargeError, InvalidParameterError, ModelNotFoundError, NotFoundError, RelevoError
from relevo.i18n.catalog import known
from relevo.runtime.image import ImageLimits
from relevo.web.auth.guard import check_form, csrf_token, principal_of, signed_in_as
from relevo.web.context import app_context
from relevo.web.pages import assets
from relevo.web.pages import model_page as model_page_module
from relevo.web.predict.body import BodyLimits, parse_body
from relevo.web.request_info import COOKIE, address_of, header, language_of
from relevo.web.routes.labels import store_label
from relevo.web.schemas.common import LabelText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.serve.service import ModelState
    from relevo.web.errors import Header

router = APIRouter(include_in_schema=False)

_check_label = TypeAdapter(LabelText).validate_python
#: Limits of small forms. The login form is public, so its limit is just above the longest percent-encoded password.
_MAX_FORM_BYTES = 2**16
_MAX_FORM_FIELDS = 20
_DAY = 24 * 3600
_YEAR = 365 * _DAY


def page_context(request: Request, models: Sequence[ModelState] | None = None) -> model_page_module.PageContext:
    """Page context of a request. models: those in the navigation; default: all that the user may see."""
    context = app_context(request)
    settings = context.settings
    return model_page_module.PageContext(
        language=language_of(request.scope, settings.language),
        address=address_of(request.scope),
        request_id=request.state.request_id,
        models=models
        if models is not None
        else [state for state in context.service.models() if principal_of(request).can_see(state.name)],
        limits=ImageLimits(max_pixels=settings.max_pixels, max_side=settings.max_side),
        signed_in=signed_in_as(request.scope),
        csrf=csrf_token(request.scope),
    )


@router.get("/")
def model_page(
    request: Request,
    model: Annotated[str | None, Query(max_length=64)] = None,
    example: Annotated[str, Query(max_length=1)] = "",
) -> Response:
    """The page of the model named in the address, else of the default one; a page that says so when there is none of that name."""
    context = page_context(request)
    name = model or app_context(request).service.default_model()
    state = next((state for state in context.models if state.name == name), None)
    if model and state is None:
        return error_page(request, ModelNotFoundError(model=model), context)
    return html_response(request, model_page_module.model_page(state, context, fill=bool(example)))


@router.post("/feedback")
async def submit_feedback(request: Request) -> Response:
    """Keep the truth for a prediction and say thanks, or say on a page why not: whoever posts this form reads pages."""
    context = page_context(request)
    try:
        query_id, value = await _read_feedback(request)
        stored_label = await store_label(request, query_id, value, source="page")
    except RelevoError as error:
        return error_page(request, error, context)
    return html_response(request, model_page_module.thanks_page(context, model=stored_label.prediction.model, value=value))


async def _read_feedback(request: Request) -> tuple[str, str]:
    """Prediction id and label of the form. Raises InvalidParameterError, InvalidFormError, TooManyPartsError."""
    form = await read_form(request)
    check_form(request.scope, form)
    for name in ("query_id", "value"):
        if not form.get(name):
            raise InvalidParameterError(field=name, expected="a value")
    try:
        _check_label(form["value"])
    except ValidationError as cause:
        raise InvalidParameterError(field="value", expected="text of the documented form (see /docs)") from cause
    return form["query_id"], form["value"]


async def read_form(request: Request) -> dict[str, str]:
    """Fields of a small form. Raises InvalidFormError, BodyTooLargeError, TooManyPartsError."""
    body = await request.body()
    if len(body) > _MAX_FORM_BYTES:
        raise BodyTooLargeError(limit=_MAX_FORM_BYTES)
    limits = BodyLimits(max_bytes=_MAX_FORM_BYTES, max_parts=1, max_fields=_MAX_FORM_FIELDS)
    return parse_body(body, header(request.scope, b"content-type") or "", limits).form


@router.get("/static/{address}")
async def static(address: str) -> Response:
    """A file of the page; its address changes with its content, so it may be kept for ever. Raises NotFoundError."""
    asset = assets.find_asset(address)
    if asset is None:
        raise NotFoundError
    return Response(
        asset.content,
        headers={"content-type": asset.media_type, "cache-control": f"public, max-age={_YEAR}, immutable"},
    )


@router.get("/favicon.ico")
async def favicon() -> Response:
    """The mark, for browsers that ask without reading the page."""
    mark = assets.assets()["relevo.svg"].content
    return Response(mark, media_type="image/svg+xml", headers={"cache-control": f"public, max-age={_DAY}"})


def error_page(request: Request, error: RelevoError, context: model_page_module.PageContext) -> Response:
    """A page with the message, status and headers of an error."""
    status, headers, body = model_page_module.render_refusal(error, None, context)
    return html_response(request, body, status, headers)


def html_response(request: Request, body: bytes, status: int = 200, headers: Sequence[Header] = ()) -> Response:
    """A page as a response; stores the language of the URL in a cookie. headers: replace the default ones."""
    response = Response(body, status_code=status)
    response.raw_headers = list(headers) or [*model_page_module.HTML_HEADERS, (b"content-length", b"%d" % len(body))]
    language = known(request.query_params.get("lang"))
    if language:
        response.set_cookie(COOKIE, language, max_age=_YEAR, httponly=True, samesite="lax")
    return response
