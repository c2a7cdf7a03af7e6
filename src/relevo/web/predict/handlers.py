"""Handlers of the predict paths as raw ASGI: FastAPI's overhead exceeds the cost of a small model.

POST /predict, /models/{name}/predict   ─► the prediction, or a list of them for a batch
     ?model= or the form part `model` may also name the model, unless its record has a field of that name
POST /predict/                          ─► the legacy response: status_code, query_id, prediction, execution_time
POST /submit                            ─► the model page with the prediction

scope ─ rate limit ─ read_body ─ parse_body ─► service.predict ─► JSON | page      errors are raised; ErrorMiddleware sends them
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from relevo.domain import ids
from relevo.domain.access import Action
from relevo.domain.signature import RecordInput
from relevo.errors import ClientDisconnectedError, InvalidParameterError, MissingInputError, RelevoError, UnsupportedMediaTypeError
from relevo.i18n.catalog import phrase
from relevo.runtime.image import ImageLimits
from relevo.serve.service import PredictRequest
from relevo.web.auth.guard import check_form, csrf_token, require_permission, signed_in_as
from relevo.web.auth.sessions import CSRF_FIELD
from relevo.web.errors import error_body, retry_header, status_of
from relevo.web.middleware.rate_limit import client_id, request_cost
from relevo.web.pages.model_page import HTML_HEADERS, PageContext, render_refusal, render_result
from relevo.web.pages.record_form import decimal_comma_remarks, parse_form
from relevo.web.predict.body import BodyLimits, RequestBody, is_cheap_to_parse, missing_image_part, parse_body, read_body
from relevo.web.query_string import check_parameters, query_parameters
from relevo.web.request_info import address_of, language_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from relevo.config import Settings
    from relevo.domain.access import Principal
    from relevo.domain.decision import DecisionResult
    from relevo.serve.loaded_version import PredictionResult
    from relevo.serve.service import ModelService, ModelState
    from relevo.telemetry import Telemetry
    from relevo.web.auth.guard import Authenticator
    from relevo.web.middleware.rate_limit import RateLimiter
    from relevo.web.predict.subjects import SubjectResolver

_MODELS = "/models/"
_PREDICT = "/predict"
#: Name of the query parameter or form part that selects a model.
_MODEL = "model"
#: Fields of the canonical response that the legacy response repeats.
_LEGACY_FIELDS = ("query_id", "prediction", "execution_time", "warnings")
_JSON = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode


class PredictHandlers:
    """Handles the predict paths. Lifetime: the worker."""

    def __init__(
        self,
        service: ModelService,
        settings: Settings,
        telemetry: Telemetry,
        authenticator: Authenticator,
        *,
        allowance: RateLimiter | None = None,
        subjects: SubjectResolver | None = None,
    ) -> None:
        """allowance: rate limits per client, None for no limits. subjects: pseudonyms of data subjects."""
        self._service = service
        self.language = settings.language
        self._telemetry = telemetry
        self._authenticator = authenticator
        self._limits = BodyLimits(
            max_bytes=settings.max_body_mb * 2**20,
            max_parts=settings.max_parts,
            max_fields=settings.max_fields,
            max_records_per_request=settings.max_records_per_request,
        )
        # One thread: several would compete with the event loop for the GIL.
        self._parser_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse")
        self._image_limits = ImageLimits(max_pixels=settings.max_pixels, max_side=settings.max_side)
        self.allowance = allowance
        self._subjects = subjects

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Raises RelevoError, which ErrorMiddleware converts to a response."""
        path: str = scope["path"]
        handler = self._submit if path == "/submit" else self._legacy_predict if path == "/predict/" else self._predict
        try:
            if self.allowance is None:
                await handler(scope, receive, send)
            else:
                with self.allowance.limit(_caller(scope)):
                    await handler(scope, receive, send)
        except ClientDisconnectedError:
            # No client is left to respond to.
            return
        except RelevoError as error:
            self._telemetry.count_error(error.code)
            if path != "/predict/":
                raise
            await self._legacy_error(error, scope, send)

    # --- fast path ------------------------------------------------------------------------------------------------------

    def try_submit(
        self, url: bytes, headers: list[tuple[bytes, bytes]], body: bytes, client: tuple[str, int] | None
    ) -> asyncio.Future[list[PredictionResult]] | None:
        """Submits a plain request with a complete body; None if it must take the ASGI path.

        Raises RelevoError; then nothing was recorded.
        """
        kind = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")
        principal = self._authenticator.authenticate_key(headers)
        if principal is None:
            return None
        if not is_cheap_to_parse(body, kind):
            return None
        caller = client_id(principal, client)
        if self.allowance is not None:
            self.allowance.check(caller)
        parsed = parse_body(body, kind, self._limits)
        model = unquote(url[len(_MODELS) : -len(_PREDICT)].decode("ascii")) if url.startswith(b"/models/") else None
        if model == "":
            # "/models//predict" and "/models/predict" name no model; they must not reach the default model.
            return None
        model = None if model is None else self._service.named(model)
        require_permission(principal, Action.PREDICT, model or self._service.default_model())
        routing_key = client[0].encode() if client else b""
        request = PredictRequest(model=model, key=routing_key, caller=caller, requested_by=_requester(principal))
        payload = parsed.image if parsed.image is not None else parsed.record
        if payload is None or parsed.form:  # a form beside the image may name a model
            return None
        if self.allowance is None:
            return self._service.submit(request, payload)
        return self._submit_limited(self.allowance, caller, request, payload, len(body))

    def encode(self, reply: PredictionResult, scope: Scope) -> bytes:
        """One prediction as JSON; counts it in the metrics."""
        self.count(reply)
        return _encode(answer_body(reply, self._language(reply, scope)))

    def count_error(self, error: RelevoError) -> None:
        """Counts an error in the metrics."""
        self._telemetry.count_error(error.code)

    def _submit_limited(
        self, allowance: RateLimiter, caller: str, request: PredictRequest, payload: bytes | dict[str, Any], body_bytes: int
    ) -> asyncio.Future[list[PredictionResult]] | None:
        """Charges the client only if the fast path succeeds, since the ASGI path would charge it again."""
        future = self._service.submit(request, payload)
        if future is not None:
            allowance.start(caller, request_cost(body_bytes, image=payload if isinstance(payload, bytes) else None))
            future.add_done_callback(lambda _: allowance.finish(caller))
        return future

    async def _read_request(self, scope: Scope, receive: Receive) -> RequestBody:
        """Reads and parses the body; invalid bodies are charged too. Raises RateLimitError."""
        body, kind = await read_body(scope, receive, self._limits, self._service.byte_budget)
        if self.allowance is None:
            return await self._parse(body, kind)
        caller = _caller(scope)
        self.allowance.charge_or_refuse(caller, request_cost(len(body)))
        parsed = await self._parse(body, kind)
        more_rows = 0 if parsed.batch is None else len(parsed.batch) - 1
        self.allowance.charge(caller, request_cost(0, rows=more_rows, image=parsed.image))
        return parsed

    async def _parse(self, body: bytes, kind: str) -> RequestBody:
        if is_cheap_to_parse(body, kind):
            return parse_body(body, kind, self._limits)
        with self._service.byte_budget.reserve(len(body)):
            return await asyncio.get_running_loop().run_in_executor(self._parser_thread, parse_body, body, kind, self._limits)

    # --- canonical response ---------------------------------------------------------------------------------------------

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        path_model = path[len(_MODELS) : -len(_PREDICT)] if path.startswith(_MODELS) else None
        check_parameters(query_parameters(scope), (_MODEL,))
        body, model = self._select_model(scope, await self._read_request(scope, receive), path_model)
        request = self._build_request(scope, model, await self._subject(scope))
        gone = _gone(receive)
        if body.batch is not None:
            replies = await self._service.predict_many(request, body.batch, gone=gone)
            self._count_many(replies)
            answers = [answer_body(reply, self._language(reply, scope)) for reply in replies]
            await _send(send, _encode(answers), _version(replies[:1]))
            return
        payload = self._payload(request, body, scope)
        reply = _with_comma_remarks(await self._service.predict(request, payload, gone=gone), body, payload)
        self.count(reply)
        await _send(send, _encode(answer_body(reply, self._language(reply, scope))), _version((reply,)))

    def _language(self, reply: PredictionResult, scope: Scope) -> str:
        """Language of the warnings; determined only if there are any."""
        return language_of(scope, self.language) if reply.remarks else self.language

    def _select_model(self, scope: Scope, body: RequestBody, path_model: str | None) -> tuple[RequestBody, str | None]:
        """The body without its `model` part, and the model that path, query and form agree on.

        Raises InvalidParameterError if they differ: a named model is never replaced by another one.
        """
        selected = [query_parameters(scope).get(_MODEL)]
        if not self._has_model_field(path_model or selected[0]):
            selected.append(body.form.get(_MODEL))
            fields = {name: text for name, text in body.form.items() if name != _MODEL}
            body = msgspec.structs.replace(body, form=fields)
        names = {self._service.named(name) for name in (path_model, *selected) if name}
        if len(names) > 1:
            raise InvalidParameterError(field=_MODEL, expected="one model, the same in the address and the form")
        return body, next(iter(names), None)

    def _has_model_field(self, model: str | None) -> bool:
        """Whether the model's record has a field with the name of the selector."""
        router = self._service.router(self._service.named(model or self._service.default_model() or ""))
        signature = None if router is None else router.choose(b"").loaded.manifest.input
        return isinstance(signature, RecordInput) and any(field.name == _MODEL for field in signature.fields)

    def _payload(self, request: PredictRequest, body: RequestBody, scope: Scope) -> bytes | dict[str, Any]:
        if body.image is not None:
            return body.image
        if body.record is not None:
            return body.record
        signature = self._service.select_version(request).loaded.manifest.input
        if isinstance(signature, RecordInput) and body.form:
            return parse_form(signature, body.form, language=language_of(scope, self.language))
        raise missing_image_part(body.form) if body.form else MissingInputError

    def _build_request(self, scope: Scope, model: str | None, subject: str | None = None) -> PredictRequest:
        """The request to the service. Raises ModelNotFoundError, PermissionDeniedError."""
        principal = scope["state"]["principal"]
        require_permission(principal, Action.PREDICT, model or self._service.default_model())
        requested_by = _requester(principal)
        return PredictRequest(
            model=model, key=_routing_key(scope), caller=_caller(scope), subject=subject, requested_by=requested_by
        )

    async def _subject(self, scope: Scope) -> str | None:
        return None if self._subjects is None else await self._subjects.of(scope)

    def _model_name(self, request: PredictRequest) -> str:
        return request.model or self._service.default_model() or ""

    def count(self, reply: PredictionResult) -> None:
        """Counts one prediction in the metrics."""
        outcome = "uncertain" if reply.answer.uncertain else "ok"
        self._telemetry.count_prediction(model=reply.model, version=reply.version, outcome=outcome, seconds=reply.seconds)

    def _count_many(self, replies: list[PredictionResult]) -> None:
        for outcome, group in (
            ("ok", [reply for reply in replies if not reply.answer.uncertain]),
            ("uncertain", [reply for reply in replies if reply.answer.uncertain]),
        ):
            if group:
                first = group[0]
                self._telemetry.count_prediction(
                    model=first.model, version=first.version, outcome=outcome, seconds=first.seconds, rows=len(group)
                )

    # --- legacy response --------------------------------------------------------------------------------------------------

    async def _legacy_predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a form with `image` and `model`."""
        check_parameters(query_parameters(scope), (_MODEL,))
        body, model = self._select_model(scope, await self._read_request(scope, receive), None)
        request = self._build_request(scope, model, await self._subject(scope))
        payload = self._payload(request, body, scope)
        reply = _with_comma_remarks(await self._service.predict(request, payload, gone=_gone(receive)), body, payload)
        self.count(reply)
        canonical = answer_body(reply, self._language(reply, scope))
        legacy = {name: canonical[name] for name in _LEGACY_FIELDS if name in canonical}
        extra = {} if reply.fields is None else reply.fields.short(reply.answer)
        await _send(send, _encode({"status_code": 200, **legacy, **extra, "error": None}), _version((reply,)))

    async def _legacy_error(self, error: RelevoError, scope: Scope, send: Send) -> None:
        """An error with the keys of the legacy response, so that old clients parse one format."""
        status = status_of(type(error))
        request_id = scope["state"]["request_id"]
        facts = error_body(error, language_of(scope, self.language), request_id)
        body = _encode({"status_code": status, "query_id": None, "prediction": None, "execution_time": None, **facts})
        headers = [_JSON, (b"content-length", b"%d" % len(body)), *retry_header(error, request_id)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # --- model page ---------------------------------------------------------------------------------------------------------

    async def _submit(self, scope: Scope, receive: Receive, send: Send) -> None:
        query, context = query_parameters(scope), self._page_context(scope)
        model = self._service.named(query[_MODEL]) if query.get(_MODEL) else None
        requested_by = _requester(scope["state"]["principal"])
        request = PredictRequest(model=model, key=_routing_key(scope), caller=_caller(scope), requested_by=requested_by)
        record: Mapping[str, Any] | None = None
        try:
            check_parameters(query, (_MODEL,))
            self._build_request(scope, request.model)
            body = await self._read_request(scope, receive)
            check_form(scope, body.form)
            form = {name: text for name, text in body.form.items() if name != CSRF_FIELD}
            body, model = self._select_model(scope, msgspec.structs.replace(body, form=form), request.model)
            request = msgspec.structs.replace(request, model=self._build_request(scope, model).model)
            if body.batch is not None:
                raise UnsupportedMediaTypeError(expected="one record or one image", got="a batch")
            request = msgspec.structs.replace(request, subject=await self._subject(scope))
            # The error page shows the form values again, even if they cannot be parsed.
            record = body.form
            payload = self._payload(request, body, scope)
            record = payload if isinstance(payload, dict) else None
            reply = _with_comma_remarks(await self._service.predict(request, payload, gone=_gone(receive)), body, payload)
        except ClientDisconnectedError:
            raise
        except RelevoError as error:
            self._telemetry.count_error(error.code)
            status, headers, page = await asyncio.to_thread(
                render_refusal, error, self._visible_state(request, context), context, record=record
            )
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": page})
            return
        self.count(reply)
        answer = answer_body(reply, context.language)
        image = payload if isinstance(payload, bytes) else None
        page = await asyncio.to_thread(render_result, self._service.state(reply.model), answer, context, image=image, record=record)
        headers = [*HTML_HEADERS, (b"content-length", b"%d" % len(page))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": page})

    def _page_context(self, scope: Scope) -> PageContext:
        principal: Principal = scope["state"]["principal"]
        return PageContext(
            language=language_of(scope, self.language),
            address=address_of(scope),
            request_id=scope["state"]["request_id"],
            models=[state for state in self._service.models() if principal.can_see(state.name)],
            limits=self._image_limits,
            signed_in=signed_in_as(scope),
            csrf=csrf_token(scope),
        )

    def _visible_state(self, request: PredictRequest, context: PageContext) -> ModelState | None:
        """State of the requested model for an error page; None if the user may not see the model."""
        name = self._model_name(request)
        return next((state for state in context.models if state.name == name), None)


def _with_comma_remarks(reply: PredictionResult, body: RequestBody, payload: bytes | dict[str, Any]) -> PredictionResult:
    """Adds a remark on form values that were read with a decimal comma."""
    remarks = decimal_comma_remarks(body.form, payload) if isinstance(payload, dict) and body.form else ()
    return msgspec.structs.replace(reply, remarks=(*reply.remarks, *remarks)) if remarks else reply


def answer_body(reply: PredictionResult, language: str) -> dict[str, Any]:
    """The canonical response as plain values, followed by the model's extra fields."""
    answer = reply.answer
    facts: dict[str, Any] = {"query_id": ids.text(reply.id), "model": reply.model, "version": reply.version}
    if answer.predicted_label is None:
        facts |= {"prediction": answer.value, "uncertain": False}
    else:
        facts |= _classification(answer)
    facts["execution_time"] = f"{reply.seconds:.3f} s"
    if not reply.recorded:
        facts["recorded"] = False
    if reply.remarks:
        facts["warnings"] = [phrase(remark.sentence, language, fields=remark.fields) for remark in reply.remarks]
    if reply.fields is not None:
        facts |= reply.fields.of(answer)
    return facts


def _classification(answer: DecisionResult) -> dict[str, Any]:
    return {
        "prediction": answer.predicted_label,
        "class": answer.index,
        "confidence": answer.confidence,
        "probabilities": answer.probabilities,
        "uncertain": answer.uncertain,
    }


def _caller(scope: Scope) -> str:
    """The rate limit key of a request."""
    return client_id(scope["state"].get("principal"), scope.get("client"))


def _requester(principal: Principal) -> str | None:
    """The actor stored with the prediction; None while there are no users."""
    return principal.actor if principal.id else None


def _routing_key(scope: Scope) -> bytes:
    """Key of the traffic split: the client's address, so that a client keeps its version."""
    client = scope.get("client")
    return client[0].encode() if client else b""


def _gone(receive: Receive) -> Any:
    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return wait


def _version(replies: Any) -> bytes:
    return b"%d" % replies[0].version if replies else b""


async def _send(send: Send, body: bytes, version: bytes) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    if version:
        headers.append((b"relevo-version", version))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
