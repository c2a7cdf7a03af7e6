"""A predict request's body as what it asks: one image, one record, or a batch of records.

    body ─ size ─ encoding ─ type ─┬ application/json            ─► record | batch
                                   ├ image/*, octet-stream       ─► image
                                   ├ multipart/form-data         ─► image (`file`, `image`, `my_image`) + fields
                                   └ x-www-form-urlencoded       ─► fields
    no type at all: a body that begins like an image is one, anything else is read as JSON

Limits come first: a body is never held beyond its cap, and parts, fields, rows and depth are counted before anything is built of
them. What takes more than some milliseconds, `is_light` says no to; it is parsed by a thread of its own, a row at a time, so that
nobody else waits for it. Records of a large batch are built one by one when they are asked for: all at once they would take many
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

#: Form parts that may hold the image, in the order they are looked for.
FILE_PARTS = ("file", "image", "my_image")
#: Bytes of a form of text alone, and of what is said of one part: both are read letter by letter, while nobody else is served.
_MOST_TEXT = 2**20
_MOST_SAID = 1024
_NAMES_SHOWN = 10
#: Separators of a form that is nothing but a picture and a word or two.
_FEW_PARTS = 32
_NAME_LENGTH_SHOWN = 64
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
_TAKEN = "application/json, a picture, such as image/png or image/jpeg, or multipart/form-data"
_decode_json = msgspec.json.Decoder().decode
#: Bytes that are parsed at once whatever they are; of a form with few parts more, for nearly all of it is a picture.
_LIGHT = 2**16
_LIGHT_FORM = 2**20
_PIECE = 2**18
#: Levels of lists and objects within each other; a record has one, a batch two.
_DEEPEST = 32
#: Values within lists and objects of records, for each field that a record may have; all of a batch together have no more.
_NESTED = 30
_SIGN = re.compile(rb'["{}\[\],]')
#: The rest of a text, its end included. Possessive: what was read is never read again.
_REST_OF_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_FLAT = re.compile(rb'\{(?:[^{}\[\]"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+\}', re.DOTALL)
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_BYTES = {b"%02x" % code: bytes([code]) for code in range(256)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """How much one request may carry."""

    max_bytes: int
    max_parts: int
    max_fields: int
    #: Records of a batch.
    max_records_per_request: int = 1000
    #: Seconds the whole body may take to arrive.
    max_seconds: float = 30.0


class RequestBody(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A parsed body; exactly one of image, record, batch and form is what was asked."""

    image: bytes | None = None
    record: dict[str, Any] | None = None
    batch: Sequence[Any] | None = None
    #: Text fields of a form, the ones beside an image included.
    form: dict[str, str] = {}


class _Records(Sequence[Any]):
    """The records of a large batch, each built anew whenever it is asked for; lives as long as the request."""

    def __init__(self, body: bytes, places: list[tuple[int, int]]) -> None:
        """places: where each record begins and ends; every one was built once, so none goes wrong later."""
        self._body = body
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return _Records(self._body, self._places[place])
        start, end = self._places[place]
        return _decode_json(memoryview(self._body)[start:end])


async def read_body(scope: Scope, receive: Receive, limits: BodyLimits, room: ByteBudget) -> tuple[bytes, str]:
    """The body's bytes and its content type in lower case.

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
        # Nearly every request: the whole body came with its head.
        body = message.get("body", b"")
    else:
        body = await _rest(message, receive, limits, room)
    if len(body) > limits.max_bytes:
        raise BodyTooLargeError(limit=limits.max_bytes)
    return body, kind


async def _rest(message: Any, receive: Receive, limits: BodyLimits, room: ByteBudget) -> bytes:
    body = bytearray()
    taken = 0
    try:
        async with asyncio.timeout(limits.max_seconds):
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientDisconnectedError
                room.take(len(message.get("body", b"")))
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
        room.give(taken)


def is_light(body: bytes, content_type: str) -> bool:
    """Whether parsing it is a matter of milliseconds at most, so that the event loop may do it."""
    if len(body) <= _LIGHT:
        return True
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        boundary = parse_options_header(content_type)[1].get(b"boundary") or b"-"
        return len(body) <= _LIGHT_FORM and body.count(b"--" + boundary) <= _FEW_PARTS
    return kind.startswith("image/") or kind == "application/octet-stream"


def parse(body: bytes, content_type: str, limits: BodyLimits) -> RequestBody:
    """What the body asks.

    Raises InvalidJsonError, InvalidFormError, MissingInputError, EmptyFileError, TooManyPartsError, TooManyRecordsError,
    BodyTooLargeError, UnsupportedMediaTypeError.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        return _image(body)
    if kind == "multipart/form-data":
        return _multipart(body, content_type, limits)
    if kind == "application/json" or kind.endswith("+json"):
        return _json(body, limits)
    if kind == "application/x-www-form-urlencoded" and not _looks_like_json(body):
        return _urlencoded(body, limits)
    if kind in ("", "text/plain", "application/x-www-form-urlencoded"):
        # curl -d sends JSON under the form's type unless told otherwise.
        return _image(body) if body.startswith(_IMAGE_STARTS) else _json(body, limits)
    raise UnsupportedMediaTypeError(expected=_TAKEN, got="another content type")


def _looks_like_json(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[")


def _image(body: bytes) -> RequestBody:
    if not body:
        raise MissingInputError
    return RequestBody(image=body)


def _json(body: bytes, limits: BodyLimits) -> RequestBody:
    if not body:
        raise MissingInputError
    if len(body) > _LIGHT:
        return _large_json(body, limits)
    value = _decoded(body)
    if isinstance(value, dict):
        _check_fields(value, limits)
        return RequestBody(record=value)
    if isinstance(value, list):
        for one in value:
            _check_fields(one, limits)
        return RequestBody(batch=value)
    raise InvalidJsonError(reason="a record is an object, a batch an array of objects")


def _decoded(text: bytes) -> Any:
    try:
        return _decode_json(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        _refuse_infinite(text)
        raise InvalidJsonError(reason=_plain_reason(cause)) from cause


def _refuse_infinite(text: bytes) -> None:
    """Raises FieldTypeError where the only fault is a number like 1e999, or what Python writes as Infinity or NaN."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return
    for record in read if isinstance(read, list) else [read]:
        for name, value in record.items() if isinstance(record, dict) else ():
            if isinstance(value, float) and not math.isfinite(value):
                got = "not a number" if math.isnan(value) else "infinity"
                raise FieldTypeError(field=name[:_NAME_LENGTH_SHOWN], expected="a finite number", got=got)


def _large_json(body: bytes, limits: BodyLimits) -> RequestBody:
    """The same for a large body: counted first, then built a record at a time, so that other threads get their turn."""
    first = body.lstrip()[:1]
    if first == b"{":
        start, end = next(_records(body, 0, limits), (0, len(body)))
        if body[end:].strip():
            raise InvalidJsonError(reason="it breaks off or goes wrong")
        return RequestBody(record=_decoded_record(body[start:end], limits))
    if first != b"[":
        raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
    places: list[tuple[int, int]] = []
    after = body.index(b"[") + 1
    for start, end in _records(body, after, limits):
        # Nothing but one comma stands between two records, and nothing before the first.
        if body[after:start].strip() != (b"," if places else b""):
            raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
        places.append((start, end))
        if len(places) > limits.max_records_per_request:
            raise TooManyRecordsError(rows=len(places), limit=limits.max_records_per_request)
        after = end
    if body[after:].strip() != b"]":
        raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
    for start, end in places:
        _decoded_record(body[start:end], limits)
    return RequestBody(batch=_Records(body, places))


def _decoded_record(text: bytes, limits: BodyLimits) -> dict[str, Any]:
    record = _decoded(text)
    _check_fields(record, limits)
    return record  # type: ignore[no-any-return]  # an object, as was checked


def _records(  # noqa: C901 - one pass over the signs of JSON
    body: bytes, position: int, limits: BodyLimits
) -> Iterator[tuple[int, int]]:
    """Where each object of the outermost level begins and ends; what stands within is counted, not built.

    Raises InvalidJsonError for what is nested too deeply or never ends, TooManyPartsError, BodyTooLargeError for one record.
    """
    depth = values = start = nested = 0
    while position < len(body):
        # Within reach of one record only: a search that finds nothing would hold everybody up.
        found = _SIGN.search(body, position, position + _MOST_TEXT)
        if found is None:
            position += _MOST_TEXT
            _refuse_heavy(depth, values, position - start if depth else 0, limits)
            continue
        sign, position = found[0], found.end()
        nested += depth > 1 or (depth == 1 and sign in b"{[")
        if nested > _NESTED * limits.max_fields:
            raise TooManyPartsError(limit=_NESTED * limits.max_fields)
        if depth == 0 and (sign in b'"[' or values > 1):
            raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
        flat = _FLAT.match(body, found.start(), found.start() + _MOST_TEXT) if depth == 0 and sign == b"{" else None
        if flat is not None and body.count(b",", *flat.span()) < limits.max_fields:
            # Nearly every record: nothing stands within it, and no comma in its texts makes it seem to have too many fields.
            yield flat.span()
            position, values = flat.end(), 0
            continue
        if sign == b'"':
            text = _REST_OF_TEXT.match(body, position, position + _MOST_TEXT)
            position = len(body) if text is None else text.end()
        elif sign == b",":
            values += 1
        elif sign in b"{[":
            start, values = (start, values) if depth else (found.start(), 0)
            depth += 1
        else:
            depth -= 1
            if depth < 0:
                return
            if depth == 0:
                values = 0
                yield start, position
        _refuse_heavy(depth, values, position - start if depth else 0, limits)
    if depth:
        raise InvalidJsonError(reason="it breaks off or goes wrong")


def _refuse_heavy(depth: int, values: int, size: int, limits: BodyLimits) -> None:
    """Raises InvalidJsonError, BodyTooLargeError, TooManyPartsError for a record of which that much was read."""
    if depth > _DEEPEST:
        raise InvalidJsonError(reason="it is nested too deeply")
    if size > _MOST_TEXT:
        raise BodyTooLargeError(limit=_MOST_TEXT)
    if depth and values >= limits.max_fields:
        raise TooManyPartsError(limit=limits.max_fields)


def _check_fields(record: object, limits: BodyLimits) -> None:
    if not isinstance(record, dict):
        raise InvalidJsonError(reason="a record is an object, a batch an array of objects")
    if len(record) > limits.max_fields:
        raise TooManyPartsError(limit=limits.max_fields)


def _plain_reason(cause: Exception) -> str:
    """Where it broke, without the text that broke it."""
    if isinstance(cause, RecursionError):
        return "it is nested too deeply"
    if isinstance(cause, UnicodeDecodeError) or "utf-8" in str(cause).lower():
        return "it is not UTF-8"
    tail = str(cause).rpartition("(byte ")[2].rstrip(")")
    return f"it breaks off or goes wrong at byte {tail}" if tail.isdigit() else "it breaks off or goes wrong"


def _urlencoded(body: bytes, limits: BodyLimits) -> RequestBody:
    if len(body) > _MOST_TEXT:
        raise BodyTooLargeError(limit=_MOST_TEXT)
    if body.count(b"&") >= limits.max_fields:
        raise TooManyPartsError(limit=limits.max_fields)
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise InvalidFormError(reason="it is not UTF-8") from cause
    pairs = (pair.partition(b"=") for pair in body.split(b"&") if pair)
    return RequestBody(form={_unescaped(name): _unescaped(text) for name, _, text in pairs})


def _unescaped(text: bytes) -> str:
    """A name or a value of a form as it was typed; urllib's own takes microseconds for each percent sign that says nothing."""
    plain = text.replace(b"+", b" ")
    return _ESCAPED.sub(lambda found: _BYTES[found[1].lower()], plain).decode("utf-8", "replace")


def _multipart(body: bytes, content_type: str, limits: BodyLimits) -> RequestBody:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidFormError(reason="its Content-Type names no boundary")
    collector = _MultipartCollector(max(limits.max_parts, 1), limits.max_fields)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        for start in range(0, len(body), _PIECE):
            # In pieces: one call is not interrupted, whatever it finds.
            parser.write(body[start : start + _PIECE])
        parser.finalize()
    except FormParserError as cause:
        raise InvalidFormError(reason="its parts are not as the boundary says") from cause
    if not collector.ended:
        raise InvalidFormError(reason="it breaks off before its last boundary")
    return _from_parts(collector)


def _from_parts(collector: _MultipartCollector) -> RequestBody:
    for name in FILE_PARTS:
        if name in collector.files:
            content = collector.files[name]
            if not content:
                raise EmptyFileError(field=name)
            return RequestBody(image=content, form=collector.fields)
    if collector.files:
        raise misnamed([*collector.files, *collector.fields])
    return RequestBody(form=collector.fields)


def misnamed(names: Iterable[str]) -> MissingInputError:
    """The refusal of a form that has parts, but none that is read as an image."""
    told = ", ".join(escape_control(name[:_NAME_LENGTH_SHOWN]) for name in list(names)[:_NAMES_SHOWN])
    return MissingInputError.told(
        f"No file was sent under a name that is read: the form's parts are {told}; the image is read from file, image or my_image."
    )


class _MultipartCollector:
    """Takes the parser's events and keeps parts by name; lives as long as one form."""

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
        if len(self._header[1]) > _MOST_SAID:
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
            # Some programs send a file's bytes without a file name.
            self.files[name] = content
        else:
            self.fields[name] = content.decode("utf-8", "replace")
