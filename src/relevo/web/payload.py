"""A predict request's body as what it asks: one image, one record, or a batch of records.

    body ─ size ─ encoding ─ type ─┬ application/json            ─► record | batch
                                   ├ image/*, octet-stream       ─► image
                                   ├ multipart/form-data         ─► image (`file`, `image`, `my_image`) + fields
                                   └ x-www-form-urlencoded       ─► fields
    no type at all: a body that begins like an image is one, anything else is read as JSON

Limits come first: a body is never held beyond its cap, and parts and fields are counted before they are looked at.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from relevo.errors import (
    BadForm,
    BadJson,
    BodyTooLarge,
    BodyTooSlow,
    CallerGone,
    EmptyFile,
    NoInput,
    TooManyParts,
    UnsupportedMedia,
)
from relevo.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope

    from relevo.serve.room import Room

#: Form parts that may hold the image, in the order they are looked for.
FILE_PARTS = ("file", "image", "my_image")
#: Bytes of a form of text alone, and of what is said of one part: both are read letter by letter, while nobody else is served.
_MOST_TEXT = 2**20
_MOST_SAID = 1024
_NAMES_SHOWN = 10
_NAME_LENGTH_SHOWN = 64
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
_TAKEN = "application/json, a picture, such as image/png or image/jpeg, or multipart/form-data"
_decode_json = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """How much one request may carry."""

    max_bytes: int
    max_parts: int
    max_fields: int
    #: Seconds the whole body may take to arrive.
    max_seconds: float = 30.0


class Body(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A parsed body; exactly one of image, record, batch and form is what was asked."""

    image: bytes | None = None
    record: dict[str, Any] | None = None
    batch: list[Any] | None = None
    #: Text fields of a form, the ones beside an image included.
    form: dict[str, str] = {}


async def read_body(scope: Scope, receive: Receive, limits: BodyLimits, room: Room) -> tuple[bytes, str]:
    """The body's bytes and its content type in lower case. Raises BodyTooLarge, BodyTooSlow, UnsupportedMedia, CallerGone."""
    kind = ""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value.decode("latin-1")
        elif name == b"content-length" and int(value) > limits.max_bytes:
            raise BodyTooLarge(limit=limits.max_bytes)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise UnsupportedMedia(expected="a body without Content-Encoding", got="an encoded one")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        # Nearly every request: the whole body came with its head.
        body = message.get("body", b"")
    else:
        body = await _rest(message, receive, limits, room)
    if len(body) > limits.max_bytes:
        raise BodyTooLarge(limit=limits.max_bytes)
    return body, kind


async def _rest(message: Any, receive: Receive, limits: BodyLimits, room: Room) -> bytes:  # noqa: ANN401 - an ASGI message
    body = bytearray()
    taken = 0
    try:
        async with asyncio.timeout(limits.max_seconds):
            while True:
                if message["type"] == "http.disconnect":
                    raise CallerGone
                room.take(len(message.get("body", b"")))
                body += message.get("body", b"")
                taken = len(body)
                if len(body) > limits.max_bytes:
                    raise BodyTooLarge(limit=limits.max_bytes)
                if not message.get("more_body", False):
                    return bytes(body)
                message = await receive()
    except TimeoutError as cause:
        raise BodyTooSlow(limit=f"{limits.max_seconds:g}") from cause
    finally:
        room.give(taken)


def parse(body: bytes, content_type: str, limits: BodyLimits) -> Body:
    """What the body asks. Raises BadJson, BadForm, NoInput, EmptyFile, TooManyParts, UnsupportedMedia."""
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
    raise UnsupportedMedia(expected=_TAKEN, got="another content type")


def _looks_like_json(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[")


def _image(body: bytes) -> Body:
    if not body:
        raise NoInput
    return Body(image=body)


def _json(body: bytes, limits: BodyLimits) -> Body:
    if not body:
        raise NoInput
    try:
        value = _decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise BadJson(reason=_plain_reason(cause)) from cause
    if isinstance(value, dict):
        _check_fields(value, limits)
        return Body(record=value)
    if isinstance(value, list):
        for one in value:
            _check_fields(one, limits)
        return Body(batch=value)
    raise BadJson(reason="a record is an object, a batch an array of objects")


def _check_fields(record: object, limits: BodyLimits) -> None:
    if not isinstance(record, dict):
        raise BadJson(reason="a record is an object, a batch an array of objects")
    if len(record) > limits.max_fields:
        raise TooManyParts(limit=limits.max_fields)


def _plain_reason(cause: Exception) -> str:
    """Where it broke, without the text that broke it."""
    if isinstance(cause, RecursionError):
        return "it is nested too deeply"
    if isinstance(cause, UnicodeDecodeError) or "utf-8" in str(cause).lower():
        return "it is not UTF-8"
    tail = str(cause).rpartition("(byte ")[2].rstrip(")")
    return f"it breaks off or goes wrong at byte {tail}" if tail.isdigit() else "it breaks off or goes wrong"


def _urlencoded(body: bytes, limits: BodyLimits) -> Body:
    if len(body) > _MOST_TEXT:
        raise BodyTooLarge(limit=_MOST_TEXT)
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=limits.max_fields)
    except UnicodeDecodeError as cause:
        raise BadForm(reason="it is not UTF-8") from cause
    except ValueError as cause:
        raise TooManyParts(limit=limits.max_fields) from cause
    return Body(form=dict(pairs))


def _multipart(body: bytes, content_type: str, limits: BodyLimits) -> Body:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise BadForm(reason="its Content-Type names no boundary")
    collector = _Collector(max(limits.max_parts, 1), limits.max_fields)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as cause:
        raise BadForm(reason="its parts are not as the boundary says") from cause
    if not collector.ended:
        raise BadForm(reason="it breaks off before its last boundary")
    return _from_parts(collector)


def _from_parts(collector: _Collector) -> Body:
    for name in FILE_PARTS:
        if name in collector.files:
            content = collector.files[name]
            if not content:
                raise EmptyFile(field=name)
            return Body(image=content, form=collector.fields)
    if collector.files:
        raise misnamed([*collector.files, *collector.fields])
    return Body(form=collector.fields)


def misnamed(names: Iterable[str]) -> NoInput:
    """The refusal of a form that has parts, but none that is read as an image."""
    told = ", ".join(visible(name[:_NAME_LENGTH_SHOWN]) for name in list(names)[:_NAMES_SHOWN])
    return NoInput.told(
        f"No file was sent under a name that is read: the form's parts are {told}; the image is read from file, image or my_image."
    )


class _Collector:
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

    def callbacks(self) -> Any:  # noqa: ANN401 - the parser's own typed dict
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
            raise TooManyParts(limit=self._max_fields)
        self._disposition = b""
        self._data = []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]
        if len(self._header[1]) > _MOST_SAID:
            raise BadForm(reason="its parts are not as the boundary says")

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
                raise TooManyParts(limit=self._max_files)
            self.files[name] = content
        elif name in FILE_PARTS and content.startswith(_IMAGE_STARTS):
            # Some programs send a file's bytes without a file name.
            self.files[name] = content
        else:
            self.fields[name] = content.decode("utf-8", "replace")
