"""Renders the model page: the form, the prediction, an error. The same renderer with and without JavaScript.

    GET /          ─► model_page                         the form and an empty result area
    POST /submit   ─► render_result | render_refusal     the same page with the prediction or the error in that area
    POST /feedback ─► thanks_page

The script posts the same form and takes `#result` out of the returned page, so there is no second renderer.
Functions are sync, and `render_result` decodes an image: call them in a thread.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from relevo.domain.decision import ThresholdDecision
from relevo.domain.signature import ImageInput, RecordInput, Task
from relevo.i18n.catalog import LANGUAGES, sentence
from relevo.runtime.image import ImageLimits
from relevo.web.errors import retry_header, status_of
from relevo.web.pages import record_form, thumbnails
from relevo.web.pages.templating import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relevo.errors import RelevoError
    from relevo.serve.service import ModelState

#: The drawing pad is offered for grey images up to this side, in pixels.
_PAD_SIDE = 64
#: Bars shown before the rest is collapsed.
_BARS_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContext:
    """Request data that every page needs. Lifetime: the request."""

    language: str
    address: str  # scheme and host as the caller wrote them
    request_id: str
    models: Sequence[ModelState]  # shown in the navigation
    limits: ImageLimits = field(default_factory=ImageLimits)
    signed_in: str = ""  # user name; "" without a session
    csrf: str = ""  # CSRF token for the page's forms


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShare:
    """One class with its probability. Lifetime: the rendering of a page."""

    label: str
    share: float  # 0..1
    chosen: bool


def model_page(state: ModelState | None, context: PageContext, *, fill: bool = False) -> bytes:
    """The page of one model, or a page that says that none is ready."""
    if state is None or state.manifest is None:
        return render("no_model.html", context.language, **base_context(state, context))
    return render("model.html", context.language, **_form_context(state, context, fill=fill), outcome="no_answer")


def render_result(
    state: ModelState,
    answer: Mapping[str, Any],
    context: PageContext,
    *,
    image: bytes | None = None,
    record: Mapping[str, Any] | None = None,
) -> bytes:
    """The model page with a prediction.

    answer: the JSON response of predict. image or record: the input; a record is shown in the form again.
    """
    assert state.manifest is not None  # noqa: S101 - narrows: what answered has a manifest
    manifest = state.manifest
    bars = class_shares(manifest.output.labels, answer)
    form_context = _form_context(state, context, record=record)
    return render(
        "model.html",
        context.language,
        **form_context,
        outcome="answer",
        answer=answer,
        bars=bars[:_BARS_SHOWN],
        more_bars=bars[_BARS_SHOWN:],
        bands=_bands(state, answer),
        upload=thumbnails.upload_thumbnail(image, context.limits) if image else None,
        model_input=thumbnails.model_input_thumbnail(image, manifest, context.limits) if image else None,
        curl=curl_command(state, context, record=record),
    )


def render_refusal(
    error: RelevoError, state: ModelState | None, context: PageContext, *, record: Mapping[str, Any] | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and page of an error; the page shows the message and keeps the form values."""
    status = status_of(type(error))
    error_info = {
        "code": error.code,
        "sentence": sentence(error, context.language),
        "field": error.field,
        "request_id": context.request_id,
    }
    if state is None or state.manifest is None:
        body = render("no_model.html", context.language, **base_context(state, context, error_info))
    else:
        form_context = {**_form_context(state, context, record=record), "error": error_info}
        body = render("model.html", context.language, **form_context, outcome="error")
    headers = [*HTML_HEADERS, (b"content-length", b"%d" % len(body)), *retry_header(error, context.request_id)]
    return status, headers, body


#: Headers of all pages. Pages depend on the language, hence Vary.
HTML_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept-Language, Cookie"),
]


def thanks_page(context: PageContext, *, model: str, value: str) -> bytes:
    """The page after a label was sent without JavaScript."""
    state = next((state for state in context.models if state.name == model), None)
    return render("thanks.html", context.language, **base_context(state, context), value=value)


def login_page(context: PageContext, error: RelevoError | None, facts: Mapping[str, Any]) -> bytes:
    """The login page. facts: `form_csrf`, `next` (path after login), `user_name` to fill in, `no_users`, `provider` (its name, or "")."""
    error_info = None if error is None else {"sentence": sentence(error, context.language), "request_id": context.request_id}
    switch = {code: "?" + urlencode({"next": facts["next"], "lang": code}) for code in LANGUAGES}
    return render("login.html", context.language, **{**base_context(None, context, error_info), "switch": switch}, **facts)


def class_shares(labels: Sequence[str], answer: Mapping[str, Any]) -> list[ClassShare]:
    """One entry a class, the most probable first; ties keep the order of the manifest."""
    probabilities = answer.get("probabilities") or ()
    class_shares = [
        ClassShare(label=label, share=share, chosen=index == answer.get("class"))
        for index, (label, share) in enumerate(zip(labels, probabilities, strict=False))
    ]
    return sorted(class_shares, key=lambda class_share: -class_share.share)


def curl_command(state: ModelState, context: PageContext, *, record: Mapping[str, Any] | None = None) -> str:
    """The same request as a curl command."""
    address = shlex.quote(f"{context.address}/models/{state.name}/predict")
    if context.signed_in:
        # Double quotes, so that the shell expands the variable with the API key.
        address = f'-H "Authorization: Bearer $RELEVO_KEY" {address}'
    if state.manifest is not None and isinstance(state.manifest.input, ImageInput):
        return f"curl -F file=@image.png {address}"
    body = shlex.quote(json.dumps(record or {}, ensure_ascii=False))
    return f"curl -H 'Content-Type: application/json' -d {body} {address}"


def base_context(state: ModelState | None, context: PageContext, error: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Template variables of the page frame."""
    name = state.name if state is not None else ""
    return {
        "state": state,
        "models": context.models,
        "name": name,
        "switch": {code: "?" + urlencode({"model": name, "lang": code} if name else {"lang": code}) for code in LANGUAGES},
        "error": error,
        "signed_in": context.signed_in,
        "csrf": context.csrf,
    }


def _form_context(
    state: ModelState, context: PageContext, *, record: Mapping[str, Any] | None = None, fill: bool = False
) -> dict[str, Any]:
    manifest = state.manifest
    assert manifest is not None  # noqa: S101 - narrows: callers have checked
    image = manifest.input if isinstance(manifest.input, ImageInput) else None
    fields = record_form.form_fields(manifest.input, record, fill=fill) if isinstance(manifest.input, RecordInput) else []
    return {
        **base_context(state, context),
        "manifest": manifest,
        "labels": manifest.output.labels,
        "regression": manifest.output.task is Task.REGRESSION,
        "image": image,
        "pad": image is not None and image.mode == "L" and max(image.width, image.height) <= _PAD_SIDE,
        "entries": fields,
        "action": "/submit?" + urlencode({"model": state.name, "lang": context.language}),
        "fill_address": "/?" + urlencode({"model": state.name, "example": "1"}) + "#ask",
    }


def _bands(state: ModelState, answer: Mapping[str, Any]) -> dict[str, float] | None:
    """Thresholds of a two-class decision, and the score of this prediction; all in 0..1."""
    assert state.manifest is not None  # noqa: S101 - narrows: what answered has a manifest
    rule = state.manifest.decision
    probabilities: Sequence[float] = answer.get("probabilities") or []
    if not isinstance(rule, ThresholdDecision) or len(probabilities) != 2:
        return None
    return {"reject": rule.reject_at, "accept": rule.accept_at, "score": probabilities[1]}
