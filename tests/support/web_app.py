"""A whole web room on a real store in memory; only the models are stood in for, by arithmetic."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import numpy as np
import uvicorn
from starlette.requests import Request

from relevo.config import Settings
from relevo.domain import ids
from relevo.domain.decision import ArgmaxDecision, ThresholdDecision, decide
from relevo.domain.manifest import Lineage, Manifest, Parity
from relevo.domain.prediction import Arm, InputKind, PredictionRecord
from relevo.domain.preprocessing import Column, ImageSteps, MatrixSteps
from relevo.domain.signature import Field, FieldKind, ImageInput, Output, RecordInput, Task
from relevo.errors import BrokenImageError, InvalidFormError, MissingFieldError, ModelNotFoundError, RelevoError
from relevo.runtime.image import ImageLimits, open_image
from relevo.runtime.record_encoder import RecordEncoder
from relevo.serve.byte_budget import ByteBudget
from relevo.serve.service import ModelState
from relevo.server.admin import LabelCuration
from relevo.store.files.packages import PackageStore
from relevo.web.app import AppContext, build_app
from relevo.web.auth.guard import Authenticator, csrf_token, signed_in_as
from relevo.web.auth.sessions import CSRF_FIELD, SessionCache
from relevo.web.context import utc_now
from relevo.web.errors import error_response
from relevo.web.pages import model_page
from relevo.web.pages.record_form import parse_form
from relevo.web.request_info import address_of, language_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from relevo.testing import MemoryStore

_LINEAGE = Lineage(framework="none", parity=Parity(reference="none", samples="generated"))

DIGITS = Manifest(
    format=1,
    name="digits",
    description="Reads one handwritten digit.",
    input=ImageInput(width=8, height=8, mode="L", description="A handwritten digit, white on black"),
    steps=ImageSteps(input="x"),
    output=Output(name="y", labels=tuple("0123456789")),
    decision=ArgmaxDecision(min_confidence=0.5),
    lineage=_LINEAGE,
)
_CHURN_FIELDS = (
    Field(name="tenure", kind=FieldKind.INTEGER, minimum=0, maximum=120, unit="months", example=41),
    Field(name="monthlycharges", kind=FieldKind.NUMBER, minimum=0, unit="$", example=79.85),
    Field(
        name="contract", kind=FieldKind.CATEGORY, categories=("month-to-month", "one_year", "two_year"), restrict_to_categories=True
    ),
    Field(name="city", kind=FieldKind.CATEGORY, required=False, example="Pamplona"),
    Field(name="paperless", kind=FieldKind.BOOLEAN, example=False),
    Field(name="text", kind=FieldKind.NUMBER, required=False),
)
CHURN = Manifest(
    format=1,
    name="churn",
    description="Whether a customer is about to leave.",
    input=RecordInput(fields=_CHURN_FIELDS),
    steps=MatrixSteps(input="x", columns=(Column(field="tenure"), Column(field="contract", equals="month-to-month"))),
    output=Output(name="y", labels=("stays", "leaves")),
    decision=ThresholdDecision(accept_at=0.7, reject_at=0.3),
    lineage=_LINEAGE,
)
RENT = Manifest(
    format=1,
    name="rent",
    input=RecordInput(fields=(Field(name="area", kind=FieldKind.NUMBER, unit="m²", minimum=1, example=80),)),
    steps=MatrixSteps(input="x", columns=(Column(field="area"),)),
    output=Output(name="y", task=Task.REGRESSION, unit="€"),
    decision=ArgmaxDecision(),
    lineage=_LINEAGE,
)


@dataclass(kw_only=True)
class FakeService:
    """Says what a service says of its models; lives as long as a test."""

    manifests: list[Manifest]
    reason: str = ""
    version: int = 1
    byte_budget: ByteBudget = field(default_factory=ByteBudget)

    def models(self) -> list[ModelState]:
        """Every manifest, ready."""
        return [
            ModelState(name=it.name, version=self.version, manifest=it, ready=True, reason="")
            for it in sorted(self.manifests, key=lambda it: it.name)
        ]

    def named(self, name: str) -> str:
        """No model has a synonym."""
        return name

    def default_model(self) -> str | None:
        """The first manifest's."""
        return self.manifests[0].name if self.manifests else None

    def ready(self) -> tuple[bool, str]:
        """Ready unless a reason was given."""
        return not self.reason, self.reason


def scores_of(manifest: Manifest, payload: bytes | dict[str, Any]) -> list[float]:
    """Arithmetic in place of a model: mean brightness for a picture, tenure for churn, area for rent."""
    if isinstance(payload, bytes):
        bright = np.asarray(open_image(payload, ImageLimits()).convert("L").resize((8, 8))).mean()
        if bright > 200:
            return [0.19, 0.17] + [0.08] * 8
        return [0.9 if index == 7 else 0.1 / 9 for index in range(10)]
    if manifest.output.task is Task.REGRESSION:
        return [payload["area"] * 12.5]
    left = 1 - payload["tenure"] / 120
    return [1 - left, left]


@dataclass(kw_only=True)
class FakePredict:
    """Answers POST /submit and predict as the raw handlers do, straight into the store; lives as long as a test."""

    service: FakeService
    store: MemoryStore
    delay_s: float = 0.0
    held: list[PredictionRecord] = field(default_factory=list)
    hold: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as the product's own handler would answer it."""
        request = Request(scope, receive)
        visit = model_page.PageContext(
            language=language_of(scope, "en"),
            address=address_of(scope),
            request_id=scope["state"]["request_id"],
            models=self.service.models(),
            signed_in=signed_in_as(scope),
            csrf=csrf_token(scope),
        )
        html = scope["path"] == "/submit"
        name = parse_qs(scope["query_string"].decode()).get("model", [self.service.default_model() or ""])[0]
        if scope["path"].startswith("/models/"):
            name = scope["path"].split("/")[2]
        state = next((one for one in visit.models if one.name == name), None)
        record: dict[str, Any] | None = None
        try:
            if state is None:
                raise ModelNotFoundError(model=name)
            payload = await self._payload(request, state.manifest)
            record = payload if isinstance(payload, dict) else None
            answer = self._answer(state, payload)
        except RelevoError as error:
            if html:
                status, headers, body = model_page.render_refusal(error, state, visit, record=record)
            else:
                status, headers, body = error_response(error, visit.language, visit.request_id)
        else:
            image = payload if isinstance(payload, bytes) else None
            status, headers, body = 200, [(b"content-type", b"application/json")], json.dumps(answer).encode()
            if html:
                headers, body = model_page.HTML_HEADERS, model_page.render_result(state, answer, visit, image=image, record=record)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _payload(self, request: Request, manifest: Manifest | None) -> bytes | dict[str, Any]:
        assert manifest is not None
        if request.headers.get("content-type", "").startswith("application/json"):
            return dict(await request.json())
        async with request.form() as form:
            if isinstance(manifest.input, RecordInput):
                return parse_form(
                    manifest.input, {key: str(value) for key, value in form.items() if key != CSRF_FIELD}, language="en"
                )
            sent = form.get("file")
            if sent is None or isinstance(sent, str):
                raise InvalidFormError(reason="no file")
            return await sent.read()

    def _answer(self, state: ModelState, payload: bytes | dict[str, Any]) -> dict[str, Any]:
        manifest = state.manifest
        assert manifest is not None
        if isinstance(payload, dict):
            assert isinstance(manifest.steps, MatrixSteps)
            assert isinstance(manifest.input, RecordInput)
            RecordEncoder(manifest.input, manifest.steps).check(payload)
        try:
            scores = scores_of(manifest, payload)
        except KeyError as cause:
            raise MissingFieldError(field=str(cause), expected="a number") from cause
        except OSError as cause:
            raise BrokenImageError from cause
        answer = decide(np.array([scores]), manifest.output, manifest.decision)[0]
        made = prediction(
            model=state.name,
            version=state.version or 0,
            kind=InputKind.IMAGE if isinstance(payload, bytes) else InputKind.RECORD,
            input=payload if isinstance(payload, bytes) else json.dumps(payload).encode(),
            predicted_label=answer.predicted_label,
            confidence=answer.confidence,
            uncertain=answer.uncertain,
            value=answer.value,
            scores=np.array(answer.probabilities, dtype="<f4").tobytes(),
        )
        if self.hold:
            self.held.append(made)
        else:
            self.store.predictions.insert([made])
        told = {"query_id": ids.text(made.id), "model": state.name, "version": state.version, "execution_time": "0.002 s"}
        if answer.predicted_label is None:
            return {**told, "prediction": answer.value, "uncertain": False}
        return {
            **told,
            "prediction": answer.predicted_label,
            "class": answer.index,
            "confidence": answer.confidence,
            "probabilities": list(answer.probabilities),
            "uncertain": answer.uncertain,
        }


def prediction(**changes: Any) -> PredictionRecord:
    """A prediction of now, with these fields changed."""
    facts: dict[str, Any] = {
        "id": ids.new_id(time.time_ns() // 1_000_000),
        "at_us": time.time_ns() // 1000,
        "model": "digits",
        "version": 1,
        "arm": Arm.CHAMPION,
        "propensity": 1.0,
        "epoch": 1,
        "kind": InputKind.RECORD,
        "input": b"{}",
        "input_bytes": 2,
        "predicted_label": "7",
        "confidence": 0.9,
        "scores": np.full(10, 0.1, dtype="<f4").tobytes(),
        "latency_us": 1500,
    }
    return PredictionRecord(**{**facts, **changes})


@dataclass(frozen=True, kw_only=True)
class World:
    """The app with everything behind it; lives as long as a test."""

    store: MemoryStore
    service: FakeService
    predict: FakePredict
    context: AppContext
    app: ASGIApp


#: What the workers counted: of all, and of each model.
METRICS = b"""relevo_up 1
relevo_predictions_total{model="digits",outcome="ok",version="1"} 3.0
relevo_request_duration_seconds_bucket{le="0.5",model="churn",version="1"} 2.0
"""
#: Where no package was ever put.
_EMPTY = PackageStore(Path("no-packages-here"))


def build_world(store: MemoryStore, manifests: list[Manifest], packages: PackageStore = _EMPTY) -> World:
    """Register the manifests, make version 1 of each the champion, and build the app over them."""
    for manifest in manifests:
        summary = {"task": str(manifest.output.task), "labels": list(manifest.output.labels)}
        store.registry.add(model=manifest.name, digest=manifest.digest(), summary=summary, author="test", at=datetime.now(UTC))
        store.registry.move_alias(manifest.name, "champion", 1, author="test", reason="first", at=datetime.now(UTC))
    service = FakeService(manifests=manifests)
    predict = FakePredict(service=service, store=store)
    context = AppContext(
        service=service,  # type: ignore[arg-type]  # stands in for the room below
        predict=predict,
        registry=store.registry,
        predictions=store.predictions,
        labels=store.labels,
        traffic=store.traffic,
        packages=packages,
        label_queue=store.label_queue,
        curate=LabelCuration(store.predictions, store.labels, Settings()).report,
        users=store.users,
        audit=store.audit,
        audit_reader=store.audit_reader,
        erasure=store.erasure,
        authenticator=Authenticator(store.users.access_snapshot(), sessions=SessionCache(store.users.sessions, utc_now)),
        settings=Settings(),
        metrics=lambda: METRICS,
    )
    return World(store=store, service=service, predict=predict, context=context, app=build_app(context))


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The app on a port of its own; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
