"""The model page as HTML: the form, the answer, a refusal. One renderer with and without JavaScript.

    GET /          ─► model_page     the form, an empty place for the answer
    POST /submit   ─► render_result | render_refusal     the same page with the answer or the reason in that place
    POST /feedback ─► thanks_page

The script posts the same form and takes `#result` out of the page that comes back, so there is no second renderer.
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

#: The drawing pad is offered for grey pictures up to this side, in pixels.
_PAD_SIDE = 64
#: Bars shown before the rest is folded away.
_BARS_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContext:
    """What a page needs to know of its request; lives as long as the request."""

    language: str
    address: str  # scheme and host as the caller wrote them
    request_id: str
    models: Sequence[ModelState]  # all of this worker, for the list at the top
    limits: ImageLimits = field(default_factory=ImageLimits)
    signed_in: str = ""  # the name of whoever is
    csrf: str = ""  # what the page's forms send along, for whoever is


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShare:
    """One class of the answer with its share."""

    label: str
    share: float  # 0..1
    chosen: bool


def model_page(state: ModelState | None, visit: PageContext, *, fill: bool = False) -> bytes:
    """The page of one model, or the one that says that there is none yet."""
    if state is None or state.manifest is None:
        return render("empty.html", visit.language, **frame(state, visit))
    return render("model.html", visit.language, **_page(state, visit, fill=fill), outcome="none")


def render_result(
    state: ModelState,
    answer: Mapping[str, Any],
    visit: PageContext,
    *,
    image: bytes | None = None,
    record: Mapping[str, Any] | None = None,
) -> bytes:
    """The page with an answer in its place.

    answer: the JSON answer of predict, as a mapping. image or record: what was asked, the record to be shown in the form again.
    """
    assert state.manifest is not None  # noqa: S101 - narrows: what answered has a manifest
    manifest = state.manifest
    bars = bars_of(manifest.output.labels, answer)
    facts = _page(state, visit, record=record)
    return render(
        "model.html",
        visit.language,
        **facts,
        outcome="answer",
        answer=answer,
        bars=bars[:_BARS_SHOWN],
        more_bars=bars[_BARS_SHOWN:],
        bands=_bands(state, answer),
        sent=thumbnails.sent_picture(image, visit.limits) if image else None,
        seen=thumbnails.seen_picture(image, manifest, visit.limits) if image else None,
        curl=curl_line(state, visit, record=record),
    )


def render_refusal(
    error: RelevoError, state: ModelState | None, visit: PageContext, *, record: Mapping[str, Any] | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and page of a form that was refused; the page says why and keeps what was typed."""
    status = status_of(type(error))
    said = {"code": error.code, "sentence": sentence(error, visit.language), "field": error.field, "request_id": visit.request_id}
    if state is None or state.manifest is None:
        body = render("empty.html", visit.language, **frame(state, visit, said))
    else:
        body = render("model.html", visit.language, **{**_page(state, visit, record=record), "problem": said}, outcome="refusal")
    headers = [*HTML_HEADERS, (b"content-length", b"%d" % len(body)), *retry_header(error, visit.request_id)]
    return status, headers, body


#: What every page is sent with; pages speak the caller's language, so caches keep apart by these.
HTML_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept-Language, Cookie"),
]


def thanks_page(visit: PageContext, *, model: str, value: str) -> bytes:
    """The page after a label was sent without JavaScript."""
    state = next((one for one in visit.models if one.name == model), None)
    return render("thanks.html", visit.language, **frame(state, visit), value=value)


def login_page(visit: PageContext, error: RelevoError | None, facts: Mapping[str, Any]) -> bytes:
    """The page to sign in on. facts: `tie` of its form, where to go `next`, the name `typed` before, if there is `nobody` yet."""
    said = None if error is None else {"sentence": sentence(error, visit.language), "request_id": visit.request_id}
    switch = {code: "?" + urlencode({"next": facts["next"], "lang": code}) for code in LANGUAGES}
    return render("login.html", visit.language, **{**frame(None, visit, said), "switch": switch}, **facts)


def bars_of(labels: Sequence[str], answer: Mapping[str, Any]) -> list[ClassShare]:
    """One bar a class, the likeliest first; classes of equal share keep the manifest's order."""
    shares = answer.get("probabilities") or ()
    bars = [
        ClassShare(label=label, share=share, chosen=index == answer.get("class"))
        for index, (label, share) in enumerate(zip(labels, shares, strict=False))
    ]
    return sorted(bars, key=lambda bar: -bar.share)


def curl_line(state: ModelState, visit: PageContext, *, record: Mapping[str, Any] | None = None) -> str:
    """The same question for a terminal."""
    address = shlex.quote(f"{visit.address}/models/{state.name}/predict")
    if visit.signed_in:
        # A program comes with a key of its own; the quotes let the terminal fill it in.
        address = f'-H "Authorization: Bearer $RELEVO_KEY" {address}'
    if state.manifest is not None and isinstance(state.manifest.input, ImageInput):
        return f"curl -F file=@image.png {address}"
    body = shlex.quote(json.dumps(record or {}, ensure_ascii=False))
    return f"curl -H 'Content-Type: application/json' -d {body} {address}"


def frame(state: ModelState | None, visit: PageContext, problem: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the page around everything needs."""
    name = state.name if state is not None else ""
    return {
        "state": state,
        "models": visit.models,
        "name": name,
        "switch": {code: "?" + urlencode({"model": name, "lang": code} if name else {"lang": code}) for code in LANGUAGES},
        "problem": problem,
        "signed_in": visit.signed_in,
        "csrf": visit.csrf,
    }


def _page(state: ModelState, visit: PageContext, *, record: Mapping[str, Any] | None = None, fill: bool = False) -> dict[str, Any]:
    manifest = state.manifest
    assert manifest is not None  # noqa: S101 - narrows: the callers have looked
    image = manifest.input if isinstance(manifest.input, ImageInput) else None
    entries = record_form.form_fields(manifest.input, record, fill=fill) if isinstance(manifest.input, RecordInput) else []
    return {
        **frame(state, visit),
        "manifest": manifest,
        "labels": manifest.output.labels,
        "regression": manifest.output.task is Task.REGRESSION,
        "image": image,
        "pad": image is not None and image.mode == "L" and max(image.width, image.height) <= _PAD_SIDE,
        "entries": entries,
        "action": "/submit?" + urlencode({"model": state.name, "lang": visit.language}),
        "fill_address": "/?" + urlencode({"model": state.name, "example": "1"}) + "#ask",
    }


def _bands(state: ModelState, answer: Mapping[str, Any]) -> dict[str, float] | None:
    """Where the lines of a two-way decision lie, and where this answer fell; shares of 0..1."""
    assert state.manifest is not None  # noqa: S101 - narrows: what answered has a manifest
    rule = state.manifest.decision
    shares: Sequence[float] = answer.get("probabilities") or []
    if not isinstance(rule, ThresholdDecision) or len(shares) != 2:
        return None
    return {"reject": rule.reject, "accept": rule.accept, "score": shares[1]}
