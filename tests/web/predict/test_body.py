"""Parsing of predict bodies: every format, every limit, and hostile input."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientDisconnectedError,
    EmptyFileError,
    FieldTypeError,
    InvalidFormError,
    InvalidJsonError,
    MissingInputError,
    OverloadedByBytesError,
    RelevoError,
    TooManyPartsError,
    TooManyRecordsError,
    UnsupportedMediaTypeError,
)
from relevo.serve.byte_budget import ByteBudget
from relevo.web.predict.body import FILE_PARTS, BodyLimits, RequestBody, is_cheap_to_parse, parse_body, read_body

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMITS = BodyLimits(max_bytes=10_000, max_parts=3, max_fields=10)
PNG = b"\x89PNG\r\n\x1a\n and the rest"
FORM = "multipart/form-data; boundary=xXx"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    shown = f'; filename="{filename}"' if filename is not None else ""
    return f'--xXx\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xXx--\r\n"


# --- accepted bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILE_PARTS)
def test_a_form_part_with_an_image_is_the_image(name: str) -> None:
    """`file`, `image` and `my_image` are the image, whatever the file name; text parts are kept."""
    parsed = parse_body(form(part("model", b"digits"), part(name, PNG, "a.png")), FORM, LIMITS)
    assert parsed == RequestBody(image=PNG, form={"model": "digits"})


def test_a_file_sent_without_a_file_name_is_still_the_image() -> None:
    """A part without a file name is recognized by its bytes."""
    assert parse_body(form(part("file", PNG)), FORM, LIMITS).image == PNG


def test_of_two_files_the_one_looked_for_first_is_taken() -> None:
    """`file` has precedence over `image`, in any order."""
    parsed = parse_body(form(part("image", PNG + b"2", "b.png"), part("file", PNG, "a.png")), FORM, LIMITS)
    assert parsed.image == PNG


def test_the_bytes_of_a_part_are_not_changed() -> None:
    """Line ends and partial boundaries within a part are preserved."""
    content = b"\xff\xd8\xff\r\n--xX\r\n\x00--xXx" + bytes(range(256))
    assert parse_body(form(part("file", content, "a.jpg")), FORM, LIMITS).image == content


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "IMAGE/WEBP", "image/x-unknown", "application/octet-stream"])
def test_a_raw_image_is_the_body(kind: str) -> None:
    """A body with an image type is the image."""
    assert parse_body(PNG, kind, LIMITS) == RequestBody(image=PNG)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"]
)
def test_a_json_object_is_one_record_and_an_array_a_batch(kind: str) -> None:
    """An object is a record, an array a batch, in order."""
    assert parse_body(b'{"a": 1}', kind, LIMITS) == RequestBody(record={"a": 1})
    assert parse_body(b'[{"a": 1}, {"a": 2}]', kind, LIMITS) == RequestBody(batch=[{"a": 1}, {"a": 2}])
    assert parse_body(b"[]", kind, LIMITS) == RequestBody(batch=[])


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_what_programs_send_without_thinking_of_types_is_understood(kind: str) -> None:
    """JSON with curl's default type, and an image or JSON without a type, are recognized."""
    assert parse_body(b' {"a": 1}', kind, LIMITS).record == {"a": 1}
    if kind != "application/x-www-form-urlencoded":
        assert parse_body(PNG, kind, LIMITS).image == PNG


def test_a_plain_form_is_its_fields() -> None:
    """A form without files is text by name."""
    assert parse_body(b"tenure=41&contract=one+year&x=", "application/x-www-form-urlencoded", LIMITS).form == {
        "tenure": "41",
        "contract": "one year",
        "x": "",
    }
    assert parse_body(form(part("tenure", b"41")), FORM, LIMITS).form == {"tenure": "41"}


def test_of_a_key_sent_twice_the_last_counts() -> None:
    """The last of a repeated JSON key wins, as in common parsers."""
    assert parse_body(b'{"a": 1, "a": 2}', "application/json", LIMITS).record == {"a": 2}


# --- rejected bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"", "application/json", MissingInputError),
        (b"", "image/png", MissingInputError),
        (b"", "", MissingInputError),
        (form(part("other", PNG, "a.png")), FORM, MissingInputError),
        (form(part("file", b"", "")), FORM, EmptyFileError),
        (form(part("my_image", b"", "a.png")), FORM, EmptyFileError),
        (b"3", "application/json", InvalidJsonError),
        (b'"text"', "application/json", InvalidJsonError),
        (b"null", "application/json", InvalidJsonError),
        (b"[1]", "application/json", InvalidJsonError),
        (b'[{"a": 1}, null]', "application/json", InvalidJsonError),
        (b'{"a": 1', "application/json", InvalidJsonError),
        (b'{"a": NaN}', "application/json", FieldTypeError),
        (b'[{"a": 1}, {"b": -Infinity}]', "application/json", FieldTypeError),
        (b'{"a": 1e999}', "application/json", FieldTypeError),
        (b'{"a": [NaN}', "application/json", InvalidJsonError),
        (b'{"a": ' + b"1" * 5000 + b"}", "application/json", InvalidJsonError),
        (b'{"a": "\xff"}', "application/json", InvalidJsonError),
        (b"[" * 9000, "application/json", InvalidJsonError),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "application/json", InvalidJsonError),
        (b"a=%", "application/xml", UnsupportedMediaTypeError),
        (b"<x/>", "text/html", UnsupportedMediaTypeError),
        (b"\xff=1", "application/x-www-form-urlencoded", InvalidFormError),
        (form(part("file", PNG, "a.png")), "multipart/form-data", InvalidFormError),
        (form(part("file", PNG, "a.png")), "multipart/form-data; boundary=", InvalidFormError),
        (b"no boundary here at all", FORM, InvalidFormError),
        (b"", FORM, InvalidFormError),
        (part("file", PNG, "a.png"), FORM, InvalidFormError),
        (part("file", PNG, "a.png")[:-20], FORM, InvalidFormError),
        (b"--xXx\r\n" + b"x-header: 1\r\n" * 100 + b"\r\n\r\n--xXx--\r\n", FORM, InvalidFormError),
    ],
)
def test_what_cannot_be_understood_is_refused_by_kind(body: bytes, kind: str, error: type[RelevoError]) -> None:
    """Empty, invalid and malformed bodies each have their own error code."""
    with pytest.raises(RelevoError) as caught:
        parse_body(body, kind, LIMITS)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(*[part(f"f{number}", PNG, "a.png") for number in range(4)]), FORM),
        (form(*[part(f"f{number}", b"1") for number in range(11)]), FORM),
        (msgspec.json.encode({str(number): 1 for number in range(11)}), "application/json"),
        (msgspec.json.encode([{}, {str(number): 1 for number in range(11)}]), "application/json"),
        ("&".join(f"f{number}=1" for number in range(11)).encode(), "application/x-www-form-urlencoded"),
    ],
)
def test_parts_and_fields_are_counted(body: bytes, kind: str) -> None:
    """max_parts and max_fields apply to all formats."""
    with pytest.raises(TooManyPartsError):
        parse_body(body, kind, LIMITS)


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"a=" + b"%" * 2**21, "application/x-www-form-urlencoded", BodyTooLargeError),
        (form(part('f";' + ";" * 2000, b"x")), FORM, InvalidFormError),
        (form(part('f"; ' + "a;" * 1000 + 'b="', b"x")), FORM, InvalidFormError),
        (form(part("f", b"x", "n" * 2000)), FORM, InvalidFormError),
    ],
)
def test_what_is_slow_to_read_is_refused_by_its_size(body: bytes, kind: str, error: type[RelevoError]) -> None:
    """Formats that are parsed byte by byte have a size limit."""
    with pytest.raises(error):
        parse_body(body, kind, LIMITS)


def test_a_long_name_of_a_file_is_taken() -> None:
    """File names up to the usual system limit are accepted."""
    assert parse_body(form(part("file", PNG, "ñ" * 255)), FORM, LIMITS).image == PNG


def test_a_refusal_never_repeats_what_was_sent() -> None:
    """The error for invalid JSON gives the position, not the text."""
    with pytest.raises(InvalidJsonError) as caught:
        parse_body(b'{"password": secret}', "application/json", LIMITS)
    assert "secret" not in str(caught.value)
    assert "byte 13" in str(caught.value)


_kinds = st.sampled_from(["", "application/json", "image/png", FORM, "multipart/form-data", "text/plain"]) | st.text(max_size=30)


@given(st.binary(max_size=300), _kinds | st.just("application/x-www-form-urlencoded"))
def test_any_bytes_of_any_type_are_parsed_or_refused(body: bytes, kind: str) -> None:
    """Any bytes with any type are parsed or raise an error with a code."""
    try:
        parsed = parse_body(body, kind, LIMITS)
    except RelevoError:
        return
    assert isinstance(parsed, RequestBody)


@given(st.data())
def test_a_form_with_bytes_changed_is_parsed_or_refused(data: st.DataObject) -> None:
    """A mutated form is parsed or raises an error with a code."""
    whole = form(part("model", b"digits"), part("file", PNG, "a.png"), part("x", b"1"))
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    body = whole[:start] + data.draw(st.binary(max_size=8)) + whole[stop:]
    try:
        parsed = parse_body(body, FORM, LIMITS)
    except RelevoError:
        return
    assert isinstance(parsed, RequestBody)


# --- reading a body -----------------------------------------------------------------------------------------------------


def arriving(
    chunks: Iterable[bytes], headers: dict[str, str] | None = None, *, limits: BodyLimits = LIMITS, pause: float = 0
) -> Any:
    """Reads a body from these chunks; None is a disconnect."""
    waiting = list(chunks)
    read = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        chunk = waiting.pop(0)
        read.append(chunk)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    scope: Any = {"headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()]}
    try:
        return asyncio.run(read_body(scope, receive, limits, ByteBudget()))
    except BodyTooLargeError:
        return len(read)


def test_chunks_are_joined_and_the_type_is_told() -> None:
    """Chunks are joined; the content type is returned as sent."""
    assert arriving([b"ab", b"", b"cd"], {"content-type": "image/png"}) == (b"abcd", "image/png")


def test_a_body_announced_too_large_is_not_read() -> None:
    """A Content-Length above the limit is rejected before the body is read."""
    assert arriving([b"x"], {"content-length": "10001"}) == 0


def test_a_body_that_grows_too_large_is_not_read_to_its_end() -> None:
    """Without a Content-Length, reading stops at the limit."""
    assert arriving([b"x" * 4000] * 100) == 3


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    """The limit itself is allowed, in one chunk or several."""
    assert arriving([b"x" * 10_000])[0] == b"x" * 10_000
    assert arriving([b"x" * 5000] * 2)[0] == b"x" * 10_000
    assert arriving([b"x" * 10_001]) == 1


def test_a_slow_body_is_given_up() -> None:
    """A body that takes longer than the timeout is rejected."""
    limits = BodyLimits(max_bytes=10_000, max_parts=3, max_fields=10, max_seconds=0.1)
    with pytest.raises(BodyTimeoutError):
        arriving([b"x"] * 100, limits=limits, pause=0.01)


def test_a_caller_who_hangs_up_in_the_middle_is_told_nothing() -> None:
    """A disconnect during the body raises ClientDisconnectedError."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    scope: Any = {"headers": []}
    with pytest.raises(ClientDisconnectedError):
        asyncio.run(read_body(scope, receive, LIMITS, ByteBudget()))


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_a_compressed_body_is_refused(encoding: str) -> None:
    """Content-Encoding is rejected, against decompression bombs."""
    with pytest.raises(UnsupportedMediaTypeError):
        arriving([b"x"], {"content-encoding": encoding})
    assert arriving([b"x"], {"content-encoding": "identity"})[0] == b"x"


def test_bodies_being_read_share_a_bounded_room() -> None:
    """A body that exceeds the byte budget is rejected while it arrives, and its bytes are released."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x" * 600, "more_body": True}

    room = ByteBudget(1000)
    scope = {"headers": [(b"content-type", b"image/png")]}
    with pytest.raises(OverloadedByBytesError):
        asyncio.run(read_body(scope, receive, LIMITS, room))
    assert room.used == 0


# --- heavy bodies -------------------------------------------------------------------------------------------------------

_MIB = 2**20
_HEAVY_LIMITS = BodyLimits(max_bytes=20 * _MIB, max_parts=20, max_fields=2000, max_records_per_request=1000)
_M = 6 * _MIB
_HEAVY: dict[str, tuple[bytes, type[RelevoError]]] = {
    "empty rows": (b"[" + b"{}," * (_M // 3) + b"{}]", TooManyRecordsError),
    "a field of empty lists": (b'{"a":[' + b"[]," * (_M // 3) + b"[]]}", TooManyPartsError),
    "a row with a field of objects": (b'[{"a":[' + b"{}," * (_M // 3) + b"{}]}]", TooManyPartsError),
    "escapes": (b'{"a":"' + b"\\u00e1" * (_M // 6) + b'"}', BodyTooLargeError),
    "quotes": (b'{"a":"' + b'\\"' * (_M // 2) + b'"}', BodyTooLargeError),
    "a text without an end": (b'{"a":"' + b"x" * _M, BodyTooLargeError),
    "a number": (b'{"a":' + b"1" * _M + b"}", BodyTooLargeError),
    "blanks": (b'{"a":' + b" " * _M + b"1}", BodyTooLargeError),
    "keys": (b"{" + b",".join(b'"%d":1' % key for key in range(_M // 10)) + b"}", TooManyPartsError),
    "lists in lists": (b"[" * _M, InvalidJsonError),
    "objects in objects": (b'{"a":' * (_M // 5), InvalidJsonError),
    "commas": (b"[" + b"," * _M, InvalidJsonError),
    "texts": (b"[" + b'"",' * (_M // 3) + b'""]', InvalidJsonError),
    "numbers": (b"[" + b"1," * (_M // 2) + b"1]", InvalidJsonError),
    "ends": (b"[" + b"}" * _M, InvalidJsonError),
    "two records": (b'{"a":"' + b"x" * 70_000 + b'"}{"a":1}', InvalidJsonError),
    "a batch that breaks off": (b'[{"a":"' + b"x" * 70_000 + b'"},', InvalidJsonError),
    "rows of empty lists": (b"[" + b",".join([b'{"a":[' + b"[]," * 1900 + b"[]]}"] * 999) + b"]", TooManyPartsError),
    "a broken record": (b'[{"a":"' + b"x" * 70_000 + b'"},{"a" 1}]', InvalidJsonError),
}


@pytest.mark.parametrize("name", _HEAVY)
def test_a_heavy_body_is_refused_before_it_is_built(name: str) -> None:
    """Rows, fields, depth and size are checked before objects are built."""
    body, error = _HEAVY[name]
    assert not is_cheap_to_parse(body, "application/json")
    tracemalloc.start()
    try:
        begun = time.process_time()
        with pytest.raises(RelevoError) as caught:
            parse_body(body, "application/json", _HEAVY_LIMITS)
        took, most = time.process_time() - begun, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(caught.value) is error, caught.value
    # About 1.5 s on a slow machine, with every allocation traced; the bound on memory tells more.
    assert took < 5, "what is refused was parsed whole"
    assert most < 3 * len(body)


_WITHIN: dict[str, bytes] = {
    "many fields": b"[" + b",".join([b"{" + b",".join(b'"k%d":1' % key for key in range(1900)) + b"}"] * 600) + b"]",
    "numbers in a list": b"[" + b",".join([b'{"a":[' + b"1.5," * 50 + b"1]}"] * 999) + b"]",
    "wide letters": b"[" + b",".join([b'{"a":"' + b"x" * 4000 + "\U0001f600".encode() + b'"}'] * 999) + b"]",
}


@pytest.mark.parametrize("name", _WITHIN)
def test_a_batch_within_the_limits_takes_little_more_than_its_body(name: str) -> None:
    """Records of a large batch are built on access, so memory stays near the body size."""
    body = _WITHIN[name]
    tracemalloc.start()
    try:
        batch = parse_body(body, "application/json", _HEAVY_LIMITS).batch
        assert batch is not None
        assert sum(len(record) for record in batch) >= 600
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < len(body)


_VALUES = st.none() | st.booleans() | st.integers(-99, 99) | st.text()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=9), _VALUES, max_size=6), max_size=6))
def test_a_large_batch_is_read_as_a_small_one(records: list[dict[str, Any]]) -> None:
    """Large bodies are parsed to the same values as by the JSON library."""
    large = [*records, {"long": 'x,"{[' * 20_000}, *records]
    body = json.dumps(large, indent=1).encode()
    assert not is_cheap_to_parse(body, "application/json")
    assert list(parse_body(body, "application/json", _HEAVY_LIMITS).batch or ()) == large
    nested = {"long": 'x,"]}\\' * 20_000, "inner": {"a": [1, {"b": records[:1]}]}}
    assert parse_body(json.dumps(nested).encode(), "application/json", _HEAVY_LIMITS).record == nested
    assert list(parse_body(b" [ " + b" " * 70_000 + b"]\n", "application/json", _HEAVY_LIMITS).batch or ()) == []


@given(st.dictionaries(st.text(min_size=1), st.text()), st.binary(max_size=40))
def test_a_plain_form_says_what_urllib_says(fields: dict[str, str], junk: bytes) -> None:
    """Form decoding equals that of urllib, including invalid percent signs."""
    kind = "application/x-www-form-urlencoded"
    limits = BodyLimits(max_bytes=_MIB, max_parts=1, max_fields=500)
    for body in (
        urlencode(fields).encode("ascii", "ignore"),
        b"a=%" + junk.replace(b"&", b"").hex().encode() + b"&b=%41%c3%b1+%zz%",
    ):
        assert parse_body(body, kind, limits).form == dict(parse_qsl(body.decode(), keep_blank_values=True))


def test_percent_signs_are_cheap() -> None:
    """A megabyte of percent signs takes a fraction of a second, off the event loop."""
    for body in (b"a=" + b"%" * (_MIB - 2), b"a=" + b"%41" * (_MIB // 3 - 1)):
        kind = "application/x-www-form-urlencoded"
        assert not is_cheap_to_parse(body, kind)
        begun = time.process_time()
        parse_body(body, kind, _HEAVY_LIMITS)
        assert time.process_time() - begun < 1.5
