"""Parses the body of a predict request into one image, one record, or a batch of records.

    body ─ size ─ encoding ─ type ─┬ application/json            ─► record | batch
                                   ├ image/*, octet-stream       ─► image
                                   ├ multipart/form-data         ─► image (`file`, `image`, `my_image`) + fields
                                   └ x-www-form-urlencoded       ─► fields
    no type: a body that begins like an image is one, anything else is parsed as JSON

Limits are checked first: a body is never held beyond its maximum size, and parts, fields, rows and depth are counted before objects
are built. `is_cheap_to_parse` is false for bodies that take more than some milliseconds; these are parsed on a separate thread, one
row at a time, so that other requests are not delayed. Records of a large batch are built on access: all at once they would take many
times the size of the body.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from relevo.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientDisconnectedError,
    EmptyFileError,
    FieldTypeError,
    InvalidFormError,
    InvalidJsonError,
    MissingInputError,
    TooManyPartsError,
    TooManyRecordsError,
    UnsupportedMediaTypeError,
)
from relevo.util.terminal import escape_control

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from starlette.types import Receive, Scope

    from relevo.serve.byte_budget import ByteBudget

#: Names of form parts that may hold the image, in order of precedence.
FILE_PARTS = ("file", "image", "my_image")
#: Bytes of a text form, and of the headers of one part: both are parsed byte by byte while the event loop waits.
_MAX_TEXT_BYTES = 2**20
_MAX_PART_HEADER_BYTES = 1024
_NAMES_SHOWN = 10
#: Boundaries in a form with an image and a few text fields.
_FEW_PARTS = 32
_NAME_LENGTH_SHOWN = 64
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
_ACCEPTED_TYPES = "application/json, a picture, such as image/png or image/jpeg, or multipart/form-data"
_decode_json = msgspec.json.Decoder().decode
#: Bytes that are parsed on the event loop whatever they are. More for a form with few parts: nearly all of it is an image.
_CHEAP_BYTES = 2**16
_CHEAP_FORM_BYTES = 2**20
_CHUNK_BYTES = 2**18
#: Nesting depth of lists and objects; a record has one level, a batch two.
_MAX_DEPTH = 32
#: Nested values for each field that a record may have; the limit applies to a whole batch.
_MAX_NESTED_PER_FIELD = 30
_TOKEN = re.compile(rb'["{}\[\],]')
#: The rest of a string, with its closing quote. Possessive, so that no byte is scanned twice.
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_FLAT_OBJECT = re.compile(rb'\{(?:[^{}\[\]"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+\}', re.DOTALL)
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_BYTES = {b"%02x" % code: bytes([code]) for code in range(256)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """Limits of one request body."""

    max_bytes: int
    max_parts: int
    max_fields: int
    #: Records in a batch.
    max_records_per_request: int = 1000
    #: Time in s for the whole body to arrive.
    max_seconds: float = 30.0


class RequestBody(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A parsed body; exactly one of image, record, batch and form is set."""

    image: bytes | None = None
    record: dict[str, Any] | None = None
    batch: Sequence[Any] | None = None
    #: Text fields of a form, with or without an image.
    form: dict[str, str] = {}


class _LazyRecords(Sequence[Any]):
    """The records of a large batch, each decoded on every access. Lifetime: the request."""

    def __init__(self, body: bytes, spans: list[tuple[int, int]]) -> None:
        """spans: start and end of each record; each was decoded once, so decoding does not fail later."""
        self._body = body
        self._spans = spans

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _LazyRecords(self._body, self._spans[index])
        start, end = self._spans[index]
        return _decode_json(memoryview(self._body)[start:end])


async def read_body(scope: Scope, receive: Receive, limits: BodyLimits, room: ByteBudget) -> tuple[bytes, str]:
    """The body and its content type as sent.

    Raises BodyTooLargeError, BodyTimeoutError, UnsupportedMediaTypeError, ClientDisconnectedError.
    """
    kind = ""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value.decode("latin-1")
        elif name == b"content-length" and int(value) > limits.max_bytes:
            raise BodyTooLargeError(limit=limits.max_bytes)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise UnsupportedMediaTypeError(expected="a body without Content-Encoding", got="an encoded one")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        # Most requests: the whole body arrived with its head.
        body = message.get("body", b"")
    else:
        body = await _read_rest(message, receive, limits, room)
    if len(body) > limits.max_bytes:
        raise BodyTooLargeError(limit=limits.max_bytes)
    return body, kind


async def _read_rest(message: Any, receive: Receive, limits: BodyLimits, room: ByteBudget) -> bytes:
    body = bytearray()
    taken = 0
    try:
        async with asyncio.timeout(limits.max_seconds):
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientDisconnectedError
                room.acquire(len(message.get("body", b"")))
                body += message.get("body", b"")
                taken = len(body)
                if len(body) > limits.max_bytes:
                    raise BodyTooLargeError(limit=limits.max_bytes)
                if not message.get("more_body", False):
                    return bytes(body)
                message = await receive()
    except TimeoutError as cause:
        raise BodyTimeoutError(limit=f"{limits.max_seconds:g}") from cause
    finally:
        room.release(taken)


def is_cheap_to_parse(body: bytes, content_type: str) -> bool:
    """Whether parsing takes at most a few milliseconds, so that the event loop may do it."""
    if len(body) <= _CHEAP_BYTES:
        return True
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        boundary = parse_options_header(content_type)[1].get(b"boundary") or b"-"
        return len(body) <= _CHEAP_FORM_BYTES and body.count(b"--" + boundary) <= _FEW_PARTS
    return kind.startswith("image/") or kind == "application/octet-stream"


def parse_body(body: bytes, content_type: str, limits: BodyLimits) -> RequestBody:
    """Parses a body according to its content type.

    Raises InvalidJsonError, InvalidFormError, MissingInputError, EmptyFileError, TooManyPartsError, TooManyRecordsError,
    BodyTooLargeError, UnsupportedMediaTypeError.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        return _parse_image(body)
    if kind == "multipart/form-data":
        return _parse_multipart(body, content_type, limits)
    if kind == "application/json" or kind.endswith("+json"):
        return _parse_json(body, limits)
    if kind == "application/x-www-form-urlencoded" and not _looks_like_json(body):
        return _parse_urlencoded(body, limits)
    if kind in ("", "text/plain", "application/x-www-form-urlencoded"):
        # `curl -d` sends JSON with the content type of a form by default.
        return _parse_image(body) if body.startswith(_IMAGE_STARTS) else _parse_json(body, limits)
    raise UnsupportedMediaTypeError(expected=_ACCEPTED_TYPES, got="another content type")


def _looks_like_json(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[")


def _parse_image(body: bytes) -> RequestBody:
    if not body:
        raise MissingInputError
    return RequestBody(image=body)


def _parse_json(body: bytes, limits: BodyLimits) -> RequestBody:
    if not body:
        raise MissingInputError
    if len(body) > _CHEAP_BYTES:
        return _parse_large_json(body, limits)
    value = _decode(body)
    if isinstance(value, dict):
        _check_fields(value, limits)
        return RequestBody(record=value)
    if isinstance(value, list):
        for record in value:
            _check_fields(record, limits)
        return RequestBody(batch=value)
    raise InvalidJsonError(reason="a record is an object, a batch an array of objects")


def _decode(text: bytes) -> Any:
    try:
        return _decode_json(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        _reject_non_finite(text)
        raise InvalidJsonError(reason=_error_reason(cause)) from cause


def _reject_non_finite(text: bytes) -> None:
    """Raises FieldTypeError if the only error is a number such as 1e999, or Infinity or NaN as Python writes them."""
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return
    for record in decoded if isinstance(decoded, list) else [decoded]:
        for name, value in record.items() if isinstance(record, dict) else ():
            if isinstance(value, float) and not math.isfinite(value):
                got = "not a number" if math.isnan(value) else "infinity"
                raise FieldTypeError(field=name[:_NAME_LENGTH_SHOWN], expected="a finite number", got=got)


def _parse_large_json(body: bytes, limits: BodyLimits) -> RequestBody:
    """Parses a large body: counts first, then decodes one record at a time, so that other threads can run."""
    first = body.lstrip()[:1]
    if first == b"{":
        start, end = next(_record_spans(body, 0, limits), (0, len(body)))
        if body[end:].strip():
            raise InvalidJsonError(reason="it breaks off or goes wrong")
        return RequestBody(record=_decode_record(body[start:end], limits))
    if first != b"[":
        raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
    spans: list[tuple[int, int]] = []
    position = body.index(b"[") + 1
    for start, end in _record_spans(body, position, limits):
        # Exactly one comma between two records, and nothing before the first.
        if body[position:start].strip() != (b"," if spans else b""):
            raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
        spans.append((start, end))
        if len(spans) > limits.max_records_per_request:
            raise TooManyRecordsError(rows=len(spans), limit=limits.max_records_per_request)
        position = end
    if body[position:].strip() != b"]":
        raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
    for start, end in spans:
        _decode_record(body[start:end], limits)
    return RequestBody(batch=_LazyRecords(body, spans))


def _decode_record(text: bytes, limits: BodyLimits) -> dict[str, Any]:
    record = _decode(text)
    _check_fields(record, limits)
    return record  # type: ignore[no-any-return]  # _check_fields has checked that it is a dict


def _record_spans(  # noqa: C901 - one pass over the JSON tokens
    body: bytes, position: int, limits: BodyLimits
) -> Iterator[tuple[int, int]]:
    """Start and end of each top-level object; nested values are counted, not built.

    Raises InvalidJsonError for excessive nesting or a missing end, TooManyPartsError, BodyTooLargeError for one record.
    """
    depth = values = start = nested = 0
    while position < len(body):
        # Limited to the size of one record: an unlimited search without a match would block other threads.
        match = _TOKEN.search(body, position, position + _MAX_TEXT_BYTES)
        if match is None:
            position += _MAX_TEXT_BYTES
            _check_record_limits(depth, values, position - start if depth else 0, limits)
            continue
        token, position = match[0], match.end()
        nested += depth > 1 or (depth == 1 and token in b"{[")
        if nested > _MAX_NESTED_PER_FIELD * limits.max_fields:
            raise TooManyPartsError(limit=_MAX_NESTED_PER_FIELD * limits.max_fields)
        if depth == 0 and (token in b'"[' or values > 1):
            raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
        flat = _FLAT_OBJECT.match(body, match.start(), match.start() + _MAX_TEXT_BYTES) if depth == 0 and token == b"{" else None
        if flat is not None and body.count(b",", *flat.span()) < limits.max_fields:
            # Most records: not nested, and few enough commas, even counting those within strings.
            yield flat.span()
            position, values = flat.end(), 0
            continue
        if token == b'"':
            text = _REST_OF_STRING.match(body, position, position + _MAX_TEXT_BYTES)
            position = len(body) if text is None else text.end()
        elif token == b",":
            values += 1
        elif token in b"{[":
            start, values = (start, values) if depth else (match.start(), 0)
            depth += 1
        else:
            depth -= 1
            if depth < 0:
                return
            if depth == 0:
                values = 0
                yield start, position
        _check_record_limits(depth, values, position - start if depth else 0, limits)
    if depth:
        raise InvalidJsonError(reason="it breaks off or goes wrong")


def _check_record_limits(depth: int, values: int, size: int, limits: BodyLimits) -> None:
    """Raises InvalidJsonError, BodyTooLargeError, TooManyPartsError for a record that exceeds a limit so far."""
    if depth > _MAX_DEPTH:
        raise InvalidJsonError(reason="it is nested too deeply")
    if size > _MAX_TEXT_BYTES:
        raise BodyTooLargeError(limit=_MAX_TEXT_BYTES)
    if depth and values >= limits.max_fields:
        raise TooManyPartsError(limit=limits.max_fields)


def _check_fields(record: object, limits: BodyLimits) -> None:
    if not isinstance(record, dict):
        raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
    if len(record) > limits.max_fields:
        raise TooManyPartsError(limit=limits.max_fields)


def _error_reason(cause: Exception) -> str:
    """Where decoding failed, without the text of the body."""
    if isinstance(cause, RecursionError):
        return "it is nested too deeply"
    if isinstance(cause, UnicodeDecodeError) or "utf-8" in str(cause).lower():
        return "it is not UTF-8"
    tail = str(cause).rpartition("(byte ")[2].rstrip(")")
    return f"it breaks off or goes wrong at byte {tail}" if tail.isdigit() else "it breaks off or goes wrong"


def _parse_urlencoded(body: bytes, limits: BodyLimits) -> RequestBody:
    if len(body) > _MAX_TEXT_BYTES:
        raise BodyTooLargeError(limit=_MAX_TEXT_BYTES)
    if body.count(b"&") >= limits.max_fields:
        raise TooManyPartsError(limit=limits.max_fields)
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise InvalidFormError(reason="it is not UTF-8") from cause
    pairs = (pair.partition(b"=") for pair in body.split(b"&") if pair)
    return RequestBody(form={_unescape(name): _unescape(text) for name, _, text in pairs})


def _unescape(text: bytes) -> str:
    """Decodes a form name or value; urllib's version takes microseconds for each percent sign, even an invalid one."""
    plain = text.replace(b"+", b" ")
    return _ESCAPED.sub(lambda match: _BYTES[match[1].lower()], plain).decode("utf-8", "replace")


def _parse_multipart(body: bytes, content_type: str, limits: BodyLimits) -> RequestBody:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidFormError(reason="its Content-Type names no boundary")
    collector = _MultipartCollector(max(limits.max_parts, 1), limits.max_fields)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        for start in range(0, len(body), _CHUNK_BYTES):
            # In chunks: a single call would block other threads until it ends.
            parser.write(body[start : start + _CHUNK_BYTES])
        parser.finalize()
    except FormParserError as cause:
        raise InvalidFormError(reason="its parts are not as the boundary says") from cause
    if not collector.ended:
        raise InvalidFormError(reason="it breaks off before its last boundary")
    return _from_form_parts(collector)


def _from_form_parts(collector: _MultipartCollector) -> RequestBody:
    for name in FILE_PARTS:
        if name in collector.files:
            content = collector.files[name]
            if not content:
                raise EmptyFileError(field=name)
            return RequestBody(image=content, form=collector.fields)
    if collector.files:
        raise missing_image_part([*collector.files, *collector.fields])
    return RequestBody(form=collector.fields)


def missing_image_part(names: Iterable[str]) -> MissingInputError:
    """The error for a form with parts, none of which is read as an image."""
    listed = ", ".join(escape_control(name[:_NAME_LENGTH_SHOWN]) for name in list(names)[:_NAMES_SHOWN])
    return MissingInputError.with_message(
        f"No file was sent under a name that is read: the form's parts are {listed}; the image is read from file, image or my_image."
    )


class _MultipartCollector:
    """Callbacks of the multipart parser; collects parts by name. Lifetime: the parsing of one form."""

    def __init__(self, max_files: int, max_fields: int) -> None:
        self.files: dict[str, bytes] = {}
        self.fields: dict[str, str] = {}
        self._max_files = max_files
        self._max_fields = max_fields
        self.ended = False
        self._parts = 0
        self._header: list[bytes] = [b"", b""]
        self._disposition = b""
        self._data: list[bytes] = []

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _end(self) -> None:
        self.ended = True

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._max_fields:
            raise TooManyPartsError(limit=self._max_fields)
        self._disposition = b""
        self._data = []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]
        if len(self._header[1]) > _MAX_PART_HEADER_BYTES:
            raise InvalidFormError(reason="its parts are not as the boundary says")

    def _header_end(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = self._header[1]
        self._header = [b"", b""]

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _part_end(self) -> None:
        options = parse_options_header(self._disposition)[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        content = b"".join(self._data)
        if b"filename" in options or b"filename*" in options:
            if len(self.files) >= self._max_files:
                raise TooManyPartsError(limit=self._max_files)
            self.files[name] = content
        elif name in FILE_PARTS and content.startswith(_IMAGE_STARTS):
            # Some clients send a file without a file name.
            self.files[name] = content
        else:
            self.fields[name] = content.decode("utf-8", "replace")
