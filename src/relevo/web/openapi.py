"""Builds the OpenAPI document: FastAPI's own for its routes, and the predict paths generated from the signatures of the served models.

    signature ─ record_schema ─► JSON Schema ─┐
    FastAPI routes ───────────────────────────┴─► document ─► /openapi.json, and its chapters for /docs

Each served model has its own path with its own schema, so that clients can be generated and a fuzzer knows the valid inputs.
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
_build_lock = threading.Lock()

_RECORDED = "Every answer is recorded before it is given; its query_id finds it in the history and takes its label."

#: Header that names the data subject, on all predict paths.
_SUBJECT: Json = {
    "name": "Relevo-Subject",
    "in": "header",
    "required": False,
    "description": "Whom the input is about, so that it can be erased; kept as a pseudonym alone",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
#: Error statuses of the predict paths.
_ERROR_STATUSES = (400, 404, 413, 415, 422, 429, 500, 503)
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
#: Above this, float64 cannot represent every integer, and the record encoder rejects the value.
_MAX_EXACT_INTEGER = 2**53
#: Keys whose values are prose.
_TEXT_KEYS = frozenset({"summary", "description"})
#: Error schemas of FastAPI, which Relevo never sends.
_FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")
_RAISES = re.compile(r"\s*Raises [^.]*\.")
_TYPES = {
    FieldKind.NUMBER: "number",
    FieldKind.INTEGER: "integer",
    FieldKind.CATEGORY: "string",
    FieldKind.BOOLEAN: "boolean",
}


def document(api: FastAPI, states: Sequence[ModelState], default: str | None) -> Json:
    """The complete document as plain values. Models that are not loaded have no path of their own."""
    # Race: concurrent first requests would build FastAPI's schemas at the same time, from shared parts.
    with _build_lock:
        generated = api.openapi()
    schema_doc = msgspec.json.decode(msgspec.json.encode(generated))
    assert isinstance(schema_doc, dict)  # noqa: S101 - narrows: an object was encoded
    for item in schema_doc["paths"].values():
        for operation in item.values():
            operation["description"] = _RAISES.sub("", operation.get("description", "")).strip()
            _use_error_body(operation["responses"])
    for name in _FRAMEWORK_SCHEMAS:
        schema_doc["components"]["schemas"].pop(name, None)
    served = {state.name: state.manifest for state in states if state.manifest is not None}
    schema_doc["paths"] = {**_predict_paths(served, default), **schema_doc["paths"]}
    return schema_doc


def _use_error_body(responses: Json) -> None:
    """Replaces FastAPI's validation error response: `errors.as_error` converts all of them."""
    if str(responses.get("422", "")).find(_FRAMEWORK_SCHEMAS[0]) >= 0:
        responses["422"] = _error_response(error_responses(422)[422])


def _predict_paths(served: dict[str, Manifest], default: str | None) -> Json:
    paths: Json = {}
    if default in served:
        paths["/predict"] = {"post": _predict_operation(served[default], "predict", f"Ask the default model, {default}")}
    for name, manifest in served.items():
        paths[f"/models/{name}/predict"] = {"post": _predict_operation(manifest, f"predict_{name}", f"Ask the model {name}")}
    paths["/predict/"] = {"post": _legacy_predict_operation(list(served))}
    paths["/submit"] = {"post": _submit_operation(list(served))}
    return paths


def _predict_operation(manifest: Manifest, identity: str, summary: str) -> Json:
    return {
        "tags": ["predict"],
        "operationId": identity,
        "summary": summary,
        "description": f"{manifest.description} {_RECORDED}".strip(),
        "parameters": [_SUBJECT],
        "requestBody": {"required": True, "content": _request_content(manifest)},
        "responses": {
            "200": {"description": "The answer", "content": {"application/json": {"schema": _response_schema(manifest)}}},
            **{str(status): _error_response(facts) for status, facts in error_responses(*_ERROR_STATUSES).items()},
        },
    }


def _legacy_predict_operation(names: list[str]) -> Json:
    """`POST /predict/`: the short response, for a form with an image and a model name."""
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
            **{str(status): _error_response(facts) for status, facts in error_responses(*_ERROR_STATUSES).items()},
        },
    }


def _submit_operation(names: list[str]) -> Json:
    """`POST /submit`: the form of the model page; responses and errors are HTML pages."""
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


def _error_response(facts: Json) -> Json:
    schema = {"$ref": "#/components/schemas/ErrorBody"}
    return {"description": facts["description"], "content": {"application/json": {"schema": schema}}}


def _request_content(manifest: Manifest) -> Json:
    if isinstance(manifest.input, ImageInput):
        form = {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]}
        return {"multipart/form-data": {"schema": form}, **{kind: {"schema": _BINARY} for kind in _IMAGE_TYPES}}
    record = record_schema(manifest.input, null=isinstance(manifest.steps, MatrixSteps) and manifest.steps.null == "nan")
    return {"application/json": {"schema": {"anyOf": [record, {"type": "array", "items": record}]}}}


def record_schema(record: RecordInput, *, null: bool = False) -> Json:
    """JSON Schema of one record of this signature. null: whether any field may be null."""
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field, record.missing_fields, null=null) for field in record.fields},
        "required": [field.name for field in record.fields if field.required] if record.missing_fields == "refuse" else [],
        "additionalProperties": record.unknown_fields != "refuse",
    }


def _json_types(field: Field, missing: Literal["refuse", "zero"], *, null: bool) -> str | list[str]:
    """JSON types of a field. Where a missing field counts as 0, a null in place of a text is valid, and booleans are numbers."""
    is_zero = missing == "zero"
    types = [_TYPES[field.kind]]
    if is_zero:
        types.append("number" if field.kind is FieldKind.BOOLEAN else "boolean")
    if not field.required or null or (is_zero and field.kind is FieldKind.CATEGORY):
        types.append("null")
    return types[0] if len(types) == 1 else types


def _field_schema(field: Field, missing: Literal["refuse", "zero"], *, null: bool) -> Json:
    schema: Json = {"type": _json_types(field, missing, null=null)}
    if field.kind is FieldKind.INTEGER:
        schema |= {"minimum": -_MAX_EXACT_INTEGER, "maximum": _MAX_EXACT_INTEGER}
    if field.minimum is not None:
        schema["minimum"] = field.minimum
    if field.maximum is not None:
        schema["maximum"] = field.maximum
    if field.restrict_to_categories:
        numeric = field.kind in (FieldKind.NUMBER, FieldKind.INTEGER)
        choices = [float(text) for text in field.categories] if numeric else field.categories
        schema["enum"] = [*choices, *([] if field.required else [None])]
    if field.unit:
        schema["description"] = field.unit
    if field.example is not None:
        schema["examples"] = [field.example]
    return schema


def _response_schema(manifest: Manifest) -> Json:
    prediction = _prediction_schema(manifest)
    if isinstance(manifest.input, ImageInput):
        return prediction
    return {"anyOf": [prediction, {"type": "array", "items": prediction}]}


def _prediction_schema(manifest: Manifest) -> Json:
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
        description = "What was ignored or counted as 0, where anything was"
        properties["warnings"] = {"type": "array", "items": {"type": "string"}, "description": description}
    extra = {name: _extra_field_schema(fact, properties) for name, fact in manifest.answer.items() if name not in OWN}
    required = ["query_id", "model", "version", "prediction", *extra]
    return {"type": "object", "properties": properties | extra, "required": required}


def _extra_field_schema(fact: str, properties: Json) -> Json:
    """Schema of an extra field that the manifest adds to the model's responses."""
    kind, _, label = fact.partition(":")
    if kind == "is":
        return {"type": "boolean", "description": f"Whether the prediction is {label}"}
    if kind == "probability":
        return {"type": "number", "minimum": 0, "maximum": 1, "description": f"Probability of {label}"}
    if fact == "number":
        return {"type": "integer", "description": "The prediction as a number"}
    return {**properties[fact], "description": f"The same as {fact}"}


def chapters(schema_doc: Json, language: str) -> list[tuple[str, list[Json]]]:
    """The document grouped by tag and translated: method, path, summary, parameters, bodies and responses of each operation.

    Only /docs is translated; openapi.json stays English, since programs are generated from it.
    """
    grouped: dict[str, list[Json]] = {}
    for path, item in schema_doc["paths"].items():
        for method, operation in item.items():
            shown = _translate(_summarize(operation), schema_doc, language)
            entry = {**shown, "method": method.upper(), "path": path}
            entry["bodies"] = {kind: _indented(schema) for kind, schema in shown["bodies"].items()}
            grouped.setdefault(said(operation["tags"][0], language), []).append(entry)
    return list(grouped.items())


def _summarize(operation: Json) -> Json:
    content = operation.get("requestBody", {}).get("content", {})
    return {
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "parameters": operation.get("parameters", []),
        "bodies": {kind: body["schema"] for kind, body in content.items()},
        "answers": [
            {"status": status, "description": response["description"]} for status, response in operation["responses"].items()
        ],
    }


def _translate(part: Any, schema_doc: Json, language: str) -> Any:
    """The part with its prose in the language, and with each `$ref` replaced by its schema."""
    if isinstance(part, list):
        return [_translate(item, schema_doc, language) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _translate(schema_doc["components"]["schemas"][part["$ref"].rpartition("/")[2]], schema_doc, language)
    return {
        name: said(single_line(value), language)
        if name in _TEXT_KEYS and isinstance(value, str)
        else _translate(value, schema_doc, language)
        for name, value in part.items()
    }


def single_line(text: str) -> str:
    """A docstring on one line, as the catalogues store it."""
    return " ".join(text.split())


def _indented(schema: Json) -> str:
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()
