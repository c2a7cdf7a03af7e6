"""The model page, its files, and feedback without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from relevo.errors import BodyTooLargeError, InvalidParameterError, ModelNotFoundError, NotFoundError, RelevoError
from relevo.i18n.catalog import known
from relevo.runtime.image import ImageLimits
from relevo.web.auth.guard import check_form, csrf_token, principal_of, signed_in_as
from relevo.web.pages import assets
from relevo.web.pages import model_page as model_page_module
from relevo.web.predict.body import BodyLimits, parse
from relevo.web.request_info import COOKIE, address_of, header, language_of
from relevo.web.routes.labels import keep_label
from relevo.web.schemas.common import LabelText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.serve.service import ModelState
    from relevo.web.errors import Header

router = APIRouter(include_in_schema=False)

_check_label = TypeAdapter(LabelText).validate_python
#: The form to sign in is anybody's to send, so these cost little to read: the longest password, each letter spelt out, and a rest.
_MOST_FORM = 2**16
_MOST_FIELDS = 20
_DAY = 24 * 3600
_YEAR = 365 * _DAY


def visit_of(request: Request, models: Sequence[ModelState] | None = None) -> model_page_module.PageContext:
    """What the pages need to know of a request. models: those listed at the top, else all that whoever asks may see."""
    parts = request.app.state.parts
    settings = parts.settings
    return model_page_module.PageContext(
        language=language_of(request.scope, settings.language),
        address=address_of(request.scope),
        request_id=request.state.request_id,
        models=models if models is not None else [one for one in parts.service.models() if principal_of(request).sees(one.name)],
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
    visit = visit_of(request)
    name = model or request.app.state.parts.service.default_model()
    state = next((one for one in visit.models if one.name == name), None)
    if model and state is None:
        return refused(request, ModelNotFoundError(model=model), visit)
    return html(request, model_page_module.model_page(state, visit, fill=bool(example)))


@router.post("/feedback")
async def feedback(request: Request) -> Response:
    """Keep the truth for a prediction and say thanks, or say on a page why not: whoever posts this form reads pages."""
    visit = visit_of(request)
    try:
        query_id, value = await _feedback_of(request)
        kept = await keep_label(request, query_id, value, source="page")
    except RelevoError as error:
        return refused(request, error, visit)
    return html(request, model_page_module.thanks_page(visit, model=kept.prediction.model, value=value))


async def _feedback_of(request: Request) -> tuple[str, str]:
    """What the form says: the prediction's id, and the label. Raises InvalidParameterError, InvalidFormError, TooManyPartsError."""
    form = await form_of(request)
    check_form(request.scope, form)
    for name in ("query_id", "value"):
        if not form.get(name):
            raise InvalidParameterError(field=name, expected="a value")
    try:
        _check_label(form["value"])
    except ValidationError as cause:
        raise InvalidParameterError(field="value", expected="text of the documented form (see /docs)") from cause
    return form["query_id"], form["value"]


async def form_of(request: Request) -> dict[str, str]:
    """The few fields of a form that a page sent. Raises InvalidFormError, BodyTooLargeError, TooManyPartsError."""
    body = await request.body()
    if len(body) > _MOST_FORM:
        raise BodyTooLargeError(limit=_MOST_FORM)
    limits = BodyLimits(max_bytes=_MOST_FORM, max_parts=1, max_fields=_MOST_FIELDS)
    return parse(body, header(request.scope, b"content-type") or "", limits).form


@router.get("/static/{address}")
async def static(address: str) -> Response:
    """A file of the page; its address changes with its content, so it may be kept for ever. Raises NotFoundError."""
    asset = assets.at(address)
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


def refused(request: Request, error: RelevoError, visit: model_page_module.PageContext) -> Response:
    """A page that says why there is no other, with the status and headers of its error."""
    status, headers, body = model_page_module.render_refusal(error, None, visit)
    return html(request, body, status, headers)


def html(request: Request, body: bytes, status: int = 200, headers: Sequence[Header] = ()) -> Response:
    """A page as an answer; a language chosen in the address is remembered. headers: in place of the usual ones."""
    response = Response(body, status_code=status)
    response.raw_headers = list(headers) or [*model_page_module.HTML_HEADERS, (b"content-length", b"%d" % len(body))]
    chosen = known(request.query_params.get("lang"))
    if chosen:
        response.set_cookie(COOKIE, chosen, max_age=_YEAR, httponly=True, samesite="lax")
    return response
