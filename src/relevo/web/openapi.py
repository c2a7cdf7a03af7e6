"""The OpenAPI document: FastAPI's for its own routes, and the predict paths written here from the signatures now served.

    signature ─ record_schema ─► JSON Schema ─┐
    FastAPI routes ───────────────────────────┴─► document ─► /openapi.json, and chapters of it for /docs

A served model has a path of its own with its own schema, so that a client can be generated and a fuzzer knows what is valid.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from relevo.domain.extra_fields import OWN
from relevo.domain.preprocessing import MatrixSteps
from relevo.domain.signature import Field, FieldKind, ImageInput, RecordInput, Task
from relevo.i18n.catalog import LANGUAGES, said
from relevo.web.routes.responses import error_responses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

    from relevo.domain.manifest import Manifest
    from relevo.serve.service import ModelState

Json = dict[str, Any]
_MAKING = threading.Lock()

_RECORDED = "Every answer is recorded before it is given; its query_id finds it in the history and takes its label."

#: Whom the input is about, on every predict path.
_SUBJECT: Json = {
    "name": "Relevo-Subject",
    "in": "header",
    "required": False,
    "description": "Whom the input is about, so that it can be erased; kept as a pseudonym alone",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
#: What a predict path may answer beside its answer.
_REFUSED = (400, 404, 413, 415, 422, 429, 500, 503)
_BINARY: Json = {"type": "string", "format": "binary"}
_IMAGE_TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "image/bmp",
    "image/tiff",
    "image/x-portable-graymap",
    "image/x-portable-pixmap",
)
#: Above this a float64 no longer holds every integer, and the record encoder refuses it.
_EXACT = 2**53
#: Where the document speaks to people.
_TEXTS = frozenset({"summary", "description"})
#: The framework's own schemas of a refusal.
_FRAMEWORKS = ("HTTPValidationError", "ValidationError")
_RAISES = re.compile(r"\s*Raises [^.]*\.")
_TYPES = {
    FieldKind.NUMBER: "number",
    FieldKind.INTEGER: "integer",
    FieldKind.CATEGORY: "string",
    FieldKind.BOOLEAN: "boolean",
}


def document(api: FastAPI, states: Sequence[ModelState], default: str | None) -> Json:
    """The whole document, as plain values. Models that are not loaded have no path of their own."""
    # Race: several that ask first would make the framework's schemas at the same time, from the same parts.
    with _MAKING:
        made = api.openapi()
    whole = msgspec.json.decode(msgspec.json.encode(made))
    assert isinstance(whole, dict)  # noqa: S101 - narrows: an object was encoded
    for item in whole["paths"].values():
        for operation in item.values():
            operation["description"] = _RAISES.sub("", operation.get("description", "")).strip()
            _answer_with_ours(operation["responses"])
    for name in _FRAMEWORKS:
        whole["components"]["schemas"].pop(name, None)
    served = {state.name: state.manifest for state in states if state.manifest is not None}
    whole["paths"] = {**_predict_paths(served, default), **whole["paths"]}
    return whole


def _answer_with_ours(responses: Json) -> None:
    """What the framework would say of a wrong parameter is never sent: `failures` answers all of them."""
    if str(responses.get("422", "")).find(_FRAMEWORKS[0]) >= 0:
        responses["422"] = _refusal(error_responses(422)[422])


def _predict_paths(served: dict[str, Manifest], default: str | None) -> Json:
    paths: Json = {}
    if default in served:
        paths["/predict"] = {"post": _operation(served[default], "predict", f"Ask the default model, {default}")}
    for name, manifest in served.items():
        paths[f"/models/{name}/predict"] = {"post": _operation(manifest, f"predict_{name}", f"Ask the model {name}")}
    paths["/predict/"] = {"post": _plain_form(list(served))}
    paths["/submit"] = {"post": _page_form(list(served))}
    return paths


def _operation(manifest: Manifest, identity: str, summary: str) -> Json:
    return {
        "tags": ["predict"],
        "operationId": identity,
        "summary": summary,
        "description": f"{manifest.description} {_RECORDED}".strip(),
        "parameters": [_SUBJECT],
        "requestBody": {"required": True, "content": _bodies(manifest)},
        "responses": {
            "200": {"description": "The answer", "content": {"application/json": {"schema": _answers(manifest)}}},
            **{str(status): _refusal(facts) for status, facts in error_responses(*_REFUSED).items()},
        },
    }


def _plain_form(names: list[str]) -> Json:
    """The short form of the answer, for a form with an image and the name of a model."""
    form = {"type": "object", "properties": {"image": _BINARY, "model": {"type": "string", "enum": names}}, "required": ["image"]}
    kinds: Json = {"status_code": "integer", "query_id": "string", "prediction": ["string", "number"], "execution_time": "string"}
    answer = {"type": "object", "properties": {name: {"type": kind} for name, kind in kinds.items()}, "required": list(kinds)}
    return {
        "tags": ["predict"],
        "operationId": "predict_form",
        "summary": "Ask by a form with an image and a model's name",
        "description": _RECORDED,
        "parameters": [_SUBJECT],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {
            "200": {"description": "The answer in short", "content": {"application/json": {"schema": answer}}},
            **{str(status): _refusal(facts) for status, facts in error_responses(*_REFUSED).items()},
        },
    }


def _page_form(names: list[str]) -> Json:
    """The form of the model page; answers and refusals are pages."""
    form = {"type": "object", "properties": {"file": _BINARY}, "description": "The file of an image, or a record field by field"}
    page = {"content": {"text/html": {"schema": {"type": "string"}}}}
    return {
        "tags": ["predict"],
        "operationId": "submit",
        "summary": "What the model page sends; the answer is a page",
        "description": _RECORDED,
        "parameters": [
            {"name": "model", "in": "query", "required": False, "schema": {"type": "string", "enum": names}},
            {"name": "lang", "in": "query", "required": False, "schema": {"type": "string", "enum": list(LANGUAGES)}},
        ],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {"200": {"description": "The answer", **page}, "default": {"description": "What was wrong", **page}},
    }


def _refusal(facts: Json) -> Json:
    schema = {"$ref": "#/components/schemas/ErrorBody"}
    return {"description": facts["description"], "content": {"application/json": {"schema": schema}}}


def _bodies(manifest: Manifest) -> Json:
    if isinstance(manifest.input, ImageInput):
        form = {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]}
        return {"multipart/form-data": {"schema": form}, **{kind: {"schema": _BINARY} for kind in _IMAGE_TYPES}}
    record = record_schema(manifest.input, null=isinstance(manifest.steps, MatrixSteps) and manifest.steps.null == "nan")
    return {"application/json": {"schema": {"anyOf": [record, {"type": "array", "items": record}]}}}


def record_schema(record: RecordInput, *, null: bool = False) -> Json:
    """JSON Schema of one record of this signature. null: whether any field may be null."""
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field, record.missing, null=null) for field in record.fields},
        "required": [field.name for field in record.fields if field.required] if record.missing == "refuse" else [],
        "additionalProperties": record.extra != "refuse",
    }


def _types(field: Field, missing: Literal["refuse", "zero"], *, null: bool) -> str | list[str]:
    """What a value may be. Where a missing field counts as 0, so does a null in place of a text, and true and false are numbers."""
    is_zero = missing == "zero"
    types = [_TYPES[field.kind]]
    if is_zero:
        types.append("number" if field.kind is FieldKind.BOOLEAN else "boolean")
    if not field.required or null or (is_zero and field.kind is FieldKind.CATEGORY):
        types.append("null")
    return types[0] if len(types) == 1 else types


def _field_schema(field: Field, missing: Literal["refuse", "zero"], *, null: bool) -> Json:
    schema: Json = {"type": _types(field, missing, null=null)}
    if field.kind is FieldKind.INTEGER:
        schema |= {"minimum": -_EXACT, "maximum": _EXACT}
    if field.minimum is not None:
        schema["minimum"] = field.minimum
    if field.maximum is not None:
        schema["maximum"] = field.maximum
    if field.closed:
        numeric = field.kind in (FieldKind.NUMBER, FieldKind.INTEGER)
        choices = [float(text) for text in field.categories] if numeric else field.categories
        schema["enum"] = [*choices, *([] if field.required else [None])]
    if field.unit:
        schema["description"] = field.unit
    if field.example is not None:
        schema["examples"] = [field.example]
    return schema


def _answers(manifest: Manifest) -> Json:
    one = _answer(manifest)
    if isinstance(manifest.input, ImageInput):
        return one
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _answer(manifest: Manifest) -> Json:
    output = manifest.output
    properties: Json = {
        "query_id": {"type": "string", "format": "uuid"},
        "model": {"type": "string"},
        "version": {"type": "integer"},
        "execution_time": {"type": "string"},
        "recorded": {"type": "boolean", "description": "Only at durability=relaxed: false when it could not be recorded"},
    }
    if output.task is Task.REGRESSION:
        properties["prediction"] = {"type": "number", "description": output.unit}
    else:
        properties |= {
            "prediction": {"type": "string", "enum": list(output.labels)},
            "class": {"type": "integer", "description": "Position of the prediction among the labels"},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "probabilities": {"type": "array", "items": {"type": "number"}, "description": "One a label, in their order"},
            "uncertain": {"type": "boolean", "description": "Too close to call by the model's decision rule"},
        }
    if isinstance(manifest.input, RecordInput):
        told = "What was ignored or counted as 0, where anything was"
        properties["warnings"] = {"type": "array", "items": {"type": "string"}, "description": told}
    also = {name: _also(fact, properties) for name, fact in manifest.answer.items() if name not in OWN}
    required = ["query_id", "model", "version", "prediction", *also]
    return {"type": "object", "properties": properties | also, "required": required}


def _also(fact: str, properties: Json) -> Json:
    """The schema of a field the model's answers carry beside their own."""
    kind, _, label = fact.partition(":")
    if kind == "is":
        return {"type": "boolean", "description": f"Whether the prediction is {label}"}
    if kind == "probability":
        return {"type": "number", "minimum": 0, "maximum": 1, "description": f"Probability of {label}"}
    if fact == "number":
        return {"type": "integer", "description": "The prediction as a number"}
    return {**properties[fact], "description": f"The same as {fact}"}


def chapters(whole: Json, language: str) -> list[tuple[str, list[Json]]]:
    """The document by tag, for reading in a language: method, path, summary, parameters, bodies and answers of each operation.

    What the document itself says stays English: programs are made from it.
    """
    found: dict[str, list[Json]] = {}
    for path, item in whole["paths"].items():
        for method, operation in item.items():
            shown = _read(_shown(operation), whole, language)
            entry = {**shown, "method": method.upper(), "path": path}
            entry["bodies"] = {kind: _indented(schema) for kind, schema in shown["bodies"].items()}
            found.setdefault(said(operation["tags"][0], language), []).append(entry)
    return list(found.items())


def _shown(operation: Json) -> Json:
    content = operation.get("requestBody", {}).get("content", {})
    return {
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "parameters": operation.get("parameters", []),
        "bodies": {kind: body["schema"] for kind, body in content.items()},
        "answers": [{"status": status, "description": one["description"]} for status, one in operation["responses"].items()],
    }


def _read(part: Any, whole: Json, language: str) -> Any:
    """The part with its texts in the language, and each named schema in place of its name."""
    if isinstance(part, list):
        return [_read(one, whole, language) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _read(whole["components"]["schemas"][part["$ref"].rpartition("/")[2]], whole, language)
    return {
        name: said(flat(value), language) if name in _TEXTS and isinstance(value, str) else _read(value, whole, language)
        for name, value in part.items()
    }


def flat(text: str) -> str:
    """A docstring's words on one line, as the catalogues have them."""
    return " ".join(text.split())


def _indented(schema: Json) -> str:
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()
