"""The predict paths as raw ASGI: the framework's machinery costs more than a small model does.

POST /predict, /models/{name}/predict   ─► the answer, or a list of them for a batch
     a model may also be named by ?model= or the form part `model`, wherever its record has no field of that name
POST /predict/                          ─► the short answer: status_code, query_id, prediction, execution_time
POST /submit                            ─► the model page with the answer in it

scope ─ share? ─ read_body ─ parse ─► service.predict ─► JSON | page          refusals are raised; the boundary answers them
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
from relevo.web.auth.guard import check_form, csrf_token, require, signed_in_as
from relevo.web.auth.sessions import CSRF_FIELD
from relevo.web.errors import error_body, retry_header, status_of
from relevo.web.middleware.rate_limit import client_id, request_cost
from relevo.web.pages.model_page import HTML_HEADERS, PageContext, render_refusal, render_result
from relevo.web.pages.record_form import commas_in, parse_form
from relevo.web.predict.body import BodyLimits, RequestBody, is_light, misnamed, parse, read_body
from relevo.web.query_string import query_of, refuse_unknown
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
#: What names a model in an address or a form.
_MODEL = "model"
#: What the short answer has of the canonical one.
_SHORT = ("query_id", "prediction", "execution_time", "warnings")
_JSON = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode


class PredictHandlers:
    """Answers the predict paths; lives as long as the worker."""

    def __init__(
        self,
        service: ModelService,
        settings: Settings,
        telemetry: Telemetry,
        door: Authenticator,
        *,
        allowance: RateLimiter | None = None,
        subjects: SubjectResolver | None = None,
    ) -> None:
        """allowance: how much each caller may ask for; None where nobody is bound. subjects: names whom inputs are about."""
        self._service = service
        self.language = settings.language
        self._telemetry = telemetry
        self._door = door
        self._limits = BodyLimits(
            max_bytes=settings.max_body_mb * 2**20,
            max_parts=settings.max_parts,
            max_fields=settings.max_fields,
            max_records_per_request=settings.max_records_per_request,
        )
        # One: several would take turns with the event loop, and it would wait for each of them.
        self._side = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse")
        self._image_limits = ImageLimits(max_pixels=settings.max_pixels, max_side=settings.max_side)
        self.allowance = allowance
        self._subjects = subjects

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises RelevoError, which the boundary turns into a problem."""
        path: str = scope["path"]
        handler = self._submit if path == "/submit" else self._short if path == "/predict/" else self._canonical
        try:
            if self.allowance is None:
                await handler(scope, receive, send)
            else:
                with self.allowance.visit(_caller(scope)):
                    await handler(scope, receive, send)
        except ClientDisconnectedError:
            # Nobody is there to be told.
            return
        except RelevoError as error:
            self._telemetry.refused(error.code)
            if path != "/predict/":
                raise
            await self._short_refusal(error, scope, send)

    # --- the short way of `express` -------------------------------------------------------------------------------------

    def ask(
        self, url: bytes, headers: list[tuple[bytes, bytes]], body: bytes, client: tuple[str, int] | None
    ) -> asyncio.Future[list[PredictionResult]] | None:
        """The ticket of a plain request whose body is whole; None when it takes the long way.

        Raises RelevoError, and then nothing was recorded.
        """
        kind = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")
        principal = self._door.by_key(headers)
        if principal is None:
            return None
        if not is_light(body, kind):
            return None
        caller = client_id(principal, client)
        if self.allowance is not None:
            self.allowance.check(caller)
        asked = parse(body, kind, self._limits)
        named = unquote(url[len(_MODELS) : -len(_PREDICT)].decode("ascii")) if url.startswith(b"/models/") else None
        if named == "":
            # "/models//predict" and "/models/predict" name nobody; they do not ask the default model.
            return None
        named = None if named is None else self._service.named(named)
        require(principal, Action.PREDICT, named or self._service.default_model())
        asker = _asked_by(principal)
        question = PredictRequest(model=named, key=client[0].encode() if client else b"", caller=caller, asked_by=asker)
        payload = asked.image if asked.image is not None else asked.record
        if payload is None or asked.form:  # a form beside the image may name a model
            return None
        if self.allowance is None:
            return self._service.ask(question, payload)
        return self._ask_within(self.allowance, caller, question, payload, len(body))

    def body(self, reply: PredictionResult, scope: Scope) -> bytes:
        """One answer as JSON, counted."""
        self.count(reply)
        return _encode(answer_body(reply, self._language(reply, scope)))

    def refused(self, error: RelevoError) -> None:
        """Count a refusal."""
        self._telemetry.refused(error.code)

    def _ask_within(
        self, allowance: RateLimiter, caller: str, question: PredictRequest, payload: bytes | dict[str, Any], weight: int
    ) -> asyncio.Future[list[PredictionResult]] | None:
        """Take the caller's units only once it is certain that the long way does not take them too."""
        ticket = self._service.ask(question, payload)
        if ticket is not None:
            allowance.enter(caller, request_cost(weight, image=payload if isinstance(payload, bytes) else None))
            ticket.add_done_callback(lambda _: allowance.leave(caller))
        return ticket

    async def _asked(self, scope: Scope, receive: Receive) -> RequestBody:
        """The body, read and parsed; what is no question costs its caller as well. Raises RateLimitError."""
        body, kind = await read_body(scope, receive, self._limits, self._service.room)
        if self.allowance is None:
            return await self._parsed(body, kind)
        caller = _caller(scope)
        self.allowance.pay(caller, request_cost(len(body)))
        asked = await self._parsed(body, kind)
        more_rows = 0 if asked.batch is None else len(asked.batch) - 1
        self.allowance.take(caller, request_cost(0, rows=more_rows, image=asked.image))
        return asked

    async def _parsed(self, body: bytes, kind: str) -> RequestBody:
        if is_light(body, kind):
            return parse(body, kind, self._limits)
        with self._service.room.holding(len(body)):
            return await asyncio.get_running_loop().run_in_executor(self._side, parse, body, kind, self._limits)

    # --- the canonical answer -------------------------------------------------------------------------------------------

    async def _canonical(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        named = path[len(_MODELS) : -len(_PREDICT)] if path.startswith(_MODELS) else None
        refuse_unknown(query_of(scope), (_MODEL,))
        asked, named = self._selected(scope, await self._asked(scope, receive), named)
        question = self._question(scope, named, await self._subject(scope))
        gone = _gone(receive)
        if asked.batch is not None:
            replies = await self._service.predict_many(question, asked.batch, gone=gone)
            self._count_many(replies)
            answers = [answer_body(reply, self._language(reply, scope)) for reply in replies]
            await _send(send, _encode(answers), _version(replies[:1]))
            return
        payload = self._payload(question, asked, scope)
        reply = _with_commas(await self._service.predict(question, payload, gone=gone), asked, payload)
        self.count(reply)
        await _send(send, _encode(answer_body(reply, self._language(reply, scope))), _version((reply,)))

    def _language(self, reply: PredictionResult, scope: Scope) -> str:
        """What the answer's warnings are said in; looked up only where there are any."""
        return language_of(scope, self.language) if reply.remarks else self.language

    def _selected(self, scope: Scope, asked: RequestBody, named: str | None) -> tuple[RequestBody, str | None]:
        """The body without its selector, and the model that address, query and form agree on.

        Raises InvalidParameterError where they do not: whoever names a model is answered by that one, or by none.
        """
        told = [query_of(scope).get(_MODEL)]
        if not self._has_field(named or told[0]):
            told.append(asked.form.get(_MODEL))
            rest = {name: text for name, text in asked.form.items() if name != _MODEL}
            asked = msgspec.structs.replace(asked, form=rest)
        names = {self._service.named(one) for one in (named, *told) if one}
        if len(names) > 1:
            raise InvalidParameterError(field=_MODEL, expected="one model, the same in the address and the form")
        return asked, next(iter(names), None)

    def _has_field(self, named: str | None) -> bool:
        """Whether the model's record has a field that is called as a selector is."""
        router = self._service.router(self._service.named(named or self._service.default_model() or ""))
        wanted = None if router is None else router.pick(b"").lane.manifest.input
        return isinstance(wanted, RecordInput) and any(field.name == _MODEL for field in wanted.fields)

    def _payload(self, question: PredictRequest, asked: RequestBody, scope: Scope) -> bytes | dict[str, Any]:
        if asked.image is not None:
            return asked.image
        if asked.record is not None:
            return asked.record
        wanted = self._service.choose(question).lane.manifest.input
        if isinstance(wanted, RecordInput) and asked.form:
            return parse_form(wanted, asked.form, language=language_of(scope, self.language))
        raise misnamed(asked.form) if asked.form else MissingInputError

    def _question(self, scope: Scope, named: str | None, subject: str | None = None) -> PredictRequest:
        """What is asked of which model. Raises ModelNotFoundError, PermissionDeniedError."""
        require(scope["state"]["principal"], Action.PREDICT, named or self._service.default_model())
        asker = _asked_by(scope["state"]["principal"])
        return PredictRequest(model=named, key=_key(scope), caller=_caller(scope), subject=subject, asked_by=asker)

    async def _subject(self, scope: Scope) -> str | None:
        return None if self._subjects is None else await self._subjects.of(scope)

    def _name(self, question: PredictRequest) -> str:
        return question.model or self._service.default_model() or ""

    def count(self, reply: PredictionResult) -> None:
        """Count one answer."""
        outcome = "uncertain" if reply.answer.uncertain else "ok"
        self._telemetry.predicted(model=reply.model, version=reply.version, outcome=outcome, seconds=reply.seconds)

    def _count_many(self, replies: list[PredictionResult]) -> None:
        for outcome, some in (
            ("ok", [r for r in replies if not r.answer.uncertain]),
            ("uncertain", [r for r in replies if r.answer.uncertain]),
        ):
            if some:
                first = some[0]
                self._telemetry.predicted(
                    model=first.model, version=first.version, outcome=outcome, seconds=first.seconds, rows=len(some)
                )

    # --- the short answer -------------------------------------------------------------------------------------------------

    async def _short(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a form with `image` and `model`."""
        refuse_unknown(query_of(scope), (_MODEL,))
        asked, named = self._selected(scope, await self._asked(scope, receive), None)
        question = self._question(scope, named, await self._subject(scope))
        payload = self._payload(question, asked, scope)
        reply = _with_commas(await self._service.predict(question, payload, gone=_gone(receive)), asked, payload)
        self.count(reply)
        facts = answer_body(reply, self._language(reply, scope))
        short = {name: facts[name] for name in _SHORT if name in facts}
        own = {} if reply.fields is None else reply.fields.short(reply.answer)
        await _send(send, _encode({"status_code": 200, **short, **own, "error": None}), _version((reply,)))

    async def _short_refusal(self, error: RelevoError, scope: Scope, send: Send) -> None:
        """A refusal with the keys of the short answer, so that an old client reads one shape."""
        status = status_of(type(error))
        request_id = scope["state"]["request_id"]
        told = error_body(error, language_of(scope, self.language), request_id)
        body = _encode({"status_code": status, "query_id": None, "prediction": None, "execution_time": None, **told})
        headers = [_JSON, (b"content-length", b"%d" % len(body)), *retry_header(error, request_id)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # --- the page -----------------------------------------------------------------------------------------------------------

    async def _submit(self, scope: Scope, receive: Receive, send: Send) -> None:
        query, visit = query_of(scope), self._visit(scope)
        named = self._service.named(query[_MODEL]) if query.get(_MODEL) else None
        asker = _asked_by(scope["state"]["principal"])
        question = PredictRequest(model=named, key=_key(scope), caller=_caller(scope), asked_by=asker)
        record: Mapping[str, Any] | None = None
        try:
            refuse_unknown(query, (_MODEL,))
            self._question(scope, question.model)
            asked = await self._asked(scope, receive)
            check_form(scope, asked.form)
            form = {name: text for name, text in asked.form.items() if name != CSRF_FIELD}
            asked, named = self._selected(scope, msgspec.structs.replace(asked, form=form), question.model)
            question = msgspec.structs.replace(question, model=self._question(scope, named).model)
            if asked.batch is not None:
                raise UnsupportedMediaTypeError(expected="one record or one image", got="a batch")
            question = msgspec.structs.replace(question, subject=await self._subject(scope))
            # What was typed is shown again, even if it cannot be read.
            record = asked.form
            payload = self._payload(question, asked, scope)
            record = payload if isinstance(payload, dict) else None
            reply = _with_commas(await self._service.predict(question, payload, gone=_gone(receive)), asked, payload)
        except ClientDisconnectedError:
            raise
        except RelevoError as error:
            self._telemetry.refused(error.code)
            status, headers, page = await asyncio.to_thread(
                render_refusal, error, self._state(question, visit), visit, record=record
            )
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": page})
            return
        self.count(reply)
        facts = answer_body(reply, visit.language)
        image = payload if isinstance(payload, bytes) else None
        page = await asyncio.to_thread(render_result, self._service.state(reply.model), facts, visit, image=image, record=record)
        headers = [*HTML_HEADERS, (b"content-length", b"%d" % len(page))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": page})

    def _visit(self, scope: Scope) -> PageContext:
        principal: Principal = scope["state"]["principal"]
        return PageContext(
            language=language_of(scope, self.language),
            address=address_of(scope),
            request_id=scope["state"]["request_id"],
            models=[one for one in self._service.models() if principal.sees(one.name)],
            limits=self._image_limits,
            signed_in=signed_in_as(scope),
            csrf=csrf_token(scope),
        )

    def _state(self, question: PredictRequest, visit: PageContext) -> ModelState | None:
        """What a refusal shows of the model that was asked: nothing where whoever asks does not see it."""
        name = self._name(question)
        return next((one for one in visit.models if one.name == name), None)


def _with_commas(reply: PredictionResult, asked: RequestBody, payload: bytes | dict[str, Any]) -> PredictionResult:
    """The reply with a remark on the numbers that a form wrote with a decimal comma."""
    told = commas_in(asked.form, payload) if isinstance(payload, dict) and asked.form else ()
    return msgspec.structs.replace(reply, remarks=(*reply.remarks, *told)) if told else reply


def answer_body(reply: PredictionResult, language: str) -> dict[str, Any]:
    """The canonical answer as plain values, and after it the fields its model was given for old clients."""
    answer = reply.answer
    facts: dict[str, Any] = {"query_id": ids.text(reply.id), "model": reply.model, "version": reply.version}
    if answer.label is None:
        facts |= {"prediction": answer.value, "uncertain": False}
    else:
        facts |= _classified(answer)
    facts["execution_time"] = f"{reply.seconds:.3f} s"
    if not reply.recorded:
        facts["recorded"] = False
    if reply.remarks:
        facts["warnings"] = [phrase(one.sentence, language, fields=one.fields) for one in reply.remarks]
    if reply.fields is not None:
        facts |= reply.fields.of(answer)
    return facts


def _classified(answer: DecisionResult) -> dict[str, Any]:
    return {
        "prediction": answer.label,
        "class": answer.index,
        "confidence": answer.confidence,
        "probabilities": answer.probabilities,
        "uncertain": answer.uncertain,
    }


def _caller(scope: Scope) -> str:
    """Whose share a request is taken from."""
    return client_id(scope["state"].get("principal"), scope.get("client"))


def _asked_by(principal: Principal) -> str | None:
    """Who asks, as the history keeps it; None while nobody is a user."""
    return principal.actor if principal.id else None


def _key(scope: Scope) -> bytes:
    """What keeps a caller on one arm: its address, whoever it is that asks from there."""
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
