"""The predict paths over real connections: a real server process, real models, valid and invalid requests of every format."""

from __future__ import annotations

import io
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.support.server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.package.package import Package

PNG_TYPE = {"content-type": "image/png"}
LIMITS = {
    "max_body_mb": 1,
    "max_records_per_request": 20,
    "max_fields": 30,
    "max_parts": 3,
    "max_pixels": 1_000_000,
    "max_side": 3000,
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, digits_package: Package, churn_package: Package) -> Iterator[str]:
    """A server with `digits` (the default) and `churn`, and small limits."""
    home = tmp_path_factory.mktemp("predict")
    with running(home, digits_package, churn_package, default_model="digits", **LIMITS) as server:
        yield server.url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture
def raw(url: str) -> Iterator[socket.socket]:
    """A raw connection, for requests that no client library sends."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        yield connection


#: What a browser sends if no file was chosen.
_UNCHOSEN = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n\r\n--b--\r\n"
)
_NOTHING_SENT = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ndigits\r\n--b--\r\n'
_NO_PICTURE = _UNCHOSEN.replace(b'filename=""', b'filename="a.txt"').replace(b"\r\n\r\n\r\n", b"\r\n\r\nno picture\r\n")
#: In a record change: omit the field.
_ABSENT = object()
_BROWSER = {"content-type": "multipart/form-data; boundary=b"}


def picture(size: tuple[int, int] = (8, 8), mode: str = "L", form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 0).save(file, form)
    return file.getvalue()


def head(length: int | str, *lines: str, path: str = "/predict") -> bytes:
    asked = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *lines]
    return "\r\n".join(asked).encode() + b"\r\n\r\n"


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One complete response from a raw connection; status 0 if it was closed instead."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return 0, {}, data
        data += more
    top, _, body = data.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(lines[0].split()[1]), headers, body


def refused(told: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (told.status_code, told.json()["code"]) == (status, code), told.text
    assert told.headers["content-type"] == "application/json"
    assert told.json()["error"]
    return dict(told.json())


# --- request formats ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["file", "image", "my_image"])
def test_an_image_in_a_form(http: httpx.Client, digits_package: Package, digit_pngs: list[bytes], part: str) -> None:
    """An image in the part `file`, `image` or `my_image` gets the prediction of the package."""
    response = http.post("/predict", files={part: ("digit.png", digit_pngs[0], "image/png")})
    assert response.status_code == 200
    assert response.json()["prediction"] == digits_package.predict(digit_pngs[0]).predicted_label


def test_the_whole_answer_to_a_picture(http: httpx.Client, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """The canonical response has its ten fields, equal to the package's prediction, and the version header."""
    response = http.post("/models/digits/predict", content=digit_pngs[3], headers=PNG_TYPE)
    body = response.json()
    expected = digits_package.predict(digit_pngs[3])
    assert list(body) == [
        "query_id",
        "model",
        "version",
        "prediction",
        "class",
        "confidence",
        "probabilities",
        "uncertain",
        "execution_time",
    ]
    assert (body["model"], body["version"], body["prediction"], body["class"]) == (
        "digits",
        1,
        expected.predicted_label,
        expected.index,
    )
    assert np.allclose(body["probabilities"], expected.probabilities, rtol=0, atol=digits_package.manifest.golden_tolerance)
    assert body["confidence"] == body["probabilities"][body["class"]]
    assert body["uncertain"] is expected.uncertain
    assert body["execution_time"].endswith(" s")
    assert response.headers["relevo-version"] == "1"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("kind", ["right", "application/octet-stream", None])
def test_a_raw_image_of_every_format(http: httpx.Client, form: str, kind: str | None) -> None:
    """JPEG, PNG and WebP are accepted as the body, with their own type, without one, and as octet-stream."""
    types = {"content-type": f"image/{form.lower()}" if kind == "right" else kind} if kind else {}
    assert http.post("/predict", content=picture((30, 20), "RGB", form), headers=types).status_code == 200


def test_a_record_and_a_batch_of_records(http: httpx.Client, churn_package: Package, churn_records: list[dict[str, Any]]) -> None:
    """An object gives an object, an array an array in the same order, each with its own query_id."""
    one = http.post("/models/churn/predict", json=churn_records[0]).json()
    many = http.post("/models/churn/predict", json=churn_records[:20]).json()
    expected = [churn_package.predict(record) for record in churn_records[:20]]
    assert one["prediction"] == expected[0].predicted_label
    assert [it["prediction"] for it in many] == [it.predicted_label for it in expected]
    assert [it["uncertain"] for it in many] == [it.uncertain for it in expected]
    for told, alone in zip(many, expected, strict=True):
        assert np.allclose(told["probabilities"], alone.probabilities, rtol=0, atol=churn_package.manifest.golden_tolerance)
    assert len({it["query_id"] for it in [one, *many]}) == 21


def test_an_empty_batch_is_an_empty_answer(http: httpx.Client) -> None:
    """An empty array gives an empty array."""
    response = http.post("/models/churn/predict", json=[])
    assert (response.status_code, response.json()) == (200, [])


def test_a_record_as_a_plain_form(http: httpx.Client, churn_package: Package, churn_records: list[dict[str, Any]]) -> None:
    """Form fields are converted by the signature, url-encoded or multipart."""
    texts = {name: str(value) for name, value in churn_records[0].items()}
    label = churn_package.predict(churn_records[0]).predicted_label
    assert http.post("/models/churn/predict", data=texts).json()["prediction"] == label
    parts = {name: (None, text) for name, text in texts.items()}
    assert http.post("/models/churn/predict", files=parts).json()["prediction"] == label


def test_the_short_path_answers_its_five_facts(http: httpx.Client, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """POST /predict/ with `image` and `model` returns the legacy response."""
    body = http.post("/predict/", files={"image": ("a.png", digit_pngs[5])}, data={"model": "digits"}).json()
    assert set(body) == {"status_code", "query_id", "prediction", "execution_time", "error"}
    assert (body["status_code"], body["error"]) == (200, None)
    assert body["prediction"] == int(str(digits_package.predict(digit_pngs[5]).predicted_label)), (
        "a label that is a number stays one"
    )


def test_the_short_path_refuses_in_the_same_shape(http: httpx.Client, digit_pngs: list[bytes]) -> None:
    """Errors of /predict/ have the keys of the legacy response."""
    response = http.post("/predict/", files={"image": ("a.png", digit_pngs[5])}, data={"model": "nobody"})
    assert response.status_code == 404
    body = response.json()
    assert (body["status_code"], body["prediction"], body["code"]) == (404, None, "model_not_found")
    assert "nobody" in body["error"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (_NOTHING_SENT, 422, {"en": "No file was sent", "es": "No se ha enviado ningún archivo"}),
        (_UNCHOSEN, 422, {"en": "No file was chosen", "es": "No se ha elegido ningún archivo"}),
        (_NO_PICTURE, 415, {"en": "not allowed", "es": "no está permitido"}),
    ],
)
@pytest.mark.parametrize("language", ["en", "es"])
def test_the_short_path_says_what_is_wrong_in_the_callers_language(
    http: httpx.Client, body: bytes, status: int, said: dict[str, str], language: str
) -> None:
    """A missing, empty or invalid file is reported in the legacy format, in both languages."""
    response = http.post("/predict/", content=body, headers={**_BROWSER, "accept-language": language})
    facts = response.json()
    assert (response.status_code, facts["status_code"]) == (status, status)
    assert list(facts)[:4] == ["status_code", "query_id", "prediction", "execution_time"]
    assert [facts[name] for name in ("query_id", "prediction", "execution_time")] == [None] * 3
    assert said[language] in facts["error"]


def test_the_page_answers_a_form_without_javascript(http: httpx.Client, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """POST /submit returns a page with the prediction; errors are pages too, in the request's language."""
    response = http.post("/submit?model=digits", files={"file": ("a.png", digit_pngs[2])})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert str(digits_package.predict(digit_pngs[2]).predicted_label) in response.text
    refusal = http.post("/submit?model=digits", content=_UNCHOSEN, headers={**_BROWSER, "accept-language": "es"})
    assert refusal.status_code == 422
    assert "No se ha elegido ningún archivo" in refusal.text


# --- errors, in both languages ------------------------------------------------------------------------------------------

_REFUSALS: list[tuple[str, int, str, str, str, dict[str, Any]]] = [
    (
        "a file under another name",
        422,
        "no_input",
        "the form's parts are photo, note; the image is read from file, image or my_image",
        "las partes del formulario son photo, note; la imagen se lee de file, image o my_image",
        {"files": {"photo": ("a.png", b"x")}, "data": {"note": "a"}},
    ),
    ("no file", 422, "no_input", "No file was sent", "No se ha enviado ningún archivo", {"files": {"other": ("a.png", b"x")}}),
    (
        "no file chosen",
        422,
        "no_file_chosen",
        "No file was chosen",
        "No se ha elegido ningún archivo",
        {"content": _UNCHOSEN, "headers": _BROWSER},
    ),
    (
        "format not allowed",
        415,
        "unsupported_image",
        "The image format is not allowed: the first bytes",
        "los primeros bytes no son",
        {"files": {"file": ("a.ico", b"\0\0\1\0" + bytes(60))}},
    ),
    (
        "broken image",
        422,
        "broken_image",
        "damaged",
        "dañada",
        {"content": picture((500, 500), "RGB", "JPEG")[:-900], "headers": PNG_TYPE},
    ),
    (
        "too many pixels",
        413,
        "image_too_large",
        "1200 × 1000",
        "1200 × 1000",
        {"content": picture((1200, 1000)), "headers": PNG_TYPE},
    ),
    ("too long a side", 413, "image_too_large", "3001 × 1", "3001 × 1", {"content": picture((3001, 1)), "headers": PNG_TYPE}),
    (
        "no json",
        400,
        "bad_json",
        "at byte 5",
        "en el byte 5",
        {"content": b'{"a":x}', "headers": {"content-type": "application/json"}},
    ),
    (
        "another type",
        415,
        "unsupported_media",
        "another content type",
        "otro tipo de contenido",
        {"content": b"x", "headers": {"content-type": "text/css"}},
    ),
    ("a record for pictures", 415, "unsupported_media", "image/jpeg", "image/jpeg", {"json": {"a": 1}}),
    (
        "broken form",
        400,
        "bad_form",
        "its parts",
        "sus partes",
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}},
    ),
    ("too many parts", 413, "too_many_parts", "more than 3", "más de 3", {"files": {f"f{n}": ("a", b"x") for n in range(4)}}),
    ("body too large", 413, "body_too_large", "max_body_mb", "max_body_mb", {"content": bytes(2**20 + 1), "headers": PNG_TYPE}),
]


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    ("status", "code", "english", "spanish", "sent"), [it[1:] for it in _REFUSALS], ids=[it[0] for it in _REFUSALS]
)
def test_refusals_are_told_in_the_callers_language(
    http: httpx.Client, status: int, code: str, english: str, spanish: str, sent: dict[str, Any], language: str
) -> None:
    """Each error has its status, code and a message in the requested language."""
    asked = {**sent, "headers": {**sent.get("headers", {}), "accept-language": language}}
    body = refused(http.post("/predict", **asked), status, code)
    assert (english if language == "en" else spanish) in body["error"], body


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    ("change", "code", "english", "spanish"),
    [
        ({"tenure": None}, "field_missing", "missing", "Falta"),
        (
            {"tenure": "41"},
            "field_wrong_type",
            "expects a number without quotes, but text came",
            "espera un número sin comillas, pero ha llegado un texto",
        ),
        ({"tenur": 1, "tenure": _ABSENT}, "field_unknown", "'tenure'", "'tenure'"),
        ({"tenure": 10**400}, "field_out_of_range", "from -1.79769313486e+308", "de -1.79769313486e+308"),
        ({"monthlycharges": 10**400}, "field_out_of_range", "expects a number", "espera un número"),
    ],
)
def test_a_wrong_record_names_its_field(
    http: httpx.Client,
    churn_records: list[dict[str, Any]],
    change: dict[str, Any],
    code: str,
    english: str,
    spanish: str,
    language: str,
) -> None:
    """The error for an invalid record names the field, alone and in a batch."""
    record = {name: value for name, value in {**churn_records[0], **change}.items() if value is not _ABSENT}
    for body in (record, [churn_records[1], record]):
        told = http.post("/models/churn/predict", content=json.dumps(body), headers={"accept-language": language})
        problem = refused(told, 422, code)
        assert problem["field"] == next(iter(change))
        assert (english if language == "en" else spanish) in problem["error"]


def test_a_batch_beyond_max_records_per_request_is_refused(http: httpx.Client, churn_records: list[dict[str, Any]]) -> None:
    """The error for too many records gives both numbers."""
    body = refused(http.post("/models/churn/predict", json=churn_records[:21]), 413, "too_many_rows")
    assert "21" in body["error"]
    assert "20" in body["error"]


def test_too_many_fields_are_refused(http: httpx.Client) -> None:
    """A record with more fields than max_fields is rejected before validation."""
    refused(http.post("/models/churn/predict", json={str(n): 1 for n in range(31)}), 413, "too_many_parts")


def test_an_unknown_model_is_not_found(http: httpx.Client, digit_pngs: list[bytes]) -> None:
    """An unknown model gives 404 with its name, even with special characters."""
    refused(http.post("/models/nobody/predict", content=digit_pngs[0], headers=PNG_TYPE), 404, "model_not_found")
    refused(http.post("/models/%C3%A9%20x/predict", content=digit_pngs[0], headers=PNG_TYPE), 404, "model_not_found")


@pytest.mark.parametrize("path", ["/predict", "/predict/", "/submit", "/models/digits/predict"])
def test_predict_paths_take_only_post(http: httpx.Client, path: str) -> None:
    """Other methods get 405 with Allow."""
    response = http.get(path)
    refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


# --- invalid body lengths ----------------------------------------------------------------------------------------------------


def test_a_body_shorter_than_announced_strands_nobody(raw: socket.socket, http: httpx.Client, digit_pngs: list[bytes]) -> None:
    """A client that disconnects before its Content-Length does no harm."""
    raw.sendall(head(10_000, "Content-Type: image/png") + digit_pngs[0])
    raw.shutdown(socket.SHUT_WR)
    assert answer(raw)[0] in (0, 400, 422)
    assert http.post("/predict", content=digit_pngs[0], headers=PNG_TYPE).status_code == 200


def test_what_follows_the_announced_length_is_no_part_of_the_body(
    raw: socket.socket, http: httpx.Client, digit_pngs: list[bytes]
) -> None:
    """Bytes beyond Content-Length are an invalid next request; the connection closes."""
    png = digit_pngs[0]
    raw.sendall(head(len(png), "Content-Type: image/png") + png + b"and something else\r\n\r\n")
    assert answer(raw)[0] in (200, 400)
    assert http.post("/predict", content=png, headers=PNG_TYPE).status_code == 200


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "99999999999999999999999", "10, 11"])
def test_a_length_that_is_none_is_refused(raw: socket.socket, http: httpx.Client, length: str, digit_pngs: list[bytes]) -> None:
    """An invalid Content-Length is rejected or closes the connection."""
    raw.sendall(head(length, "Content-Type: image/png") + b"x")
    assert answer(raw)[0] in (0, 400, 413)
    assert http.post("/predict", content=digit_pngs[0], headers=PNG_TYPE).status_code == 200


def test_a_chunked_body_without_end_stops_at_the_limit(raw: socket.socket, http: httpx.Client, digit_pngs: list[bytes]) -> None:
    """A chunked body is read up to the limit and rejected."""
    raw.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + bytes(65536) + b"\r\n"
    sent = 0
    try:
        while sent < 64:
            raw.sendall(piece)
            sent += 1
        status = answer(raw)[0]
    except (BrokenPipeError, ConnectionResetError):
        status = 0
    assert status in (0, 413)
    assert http.post("/predict", content=digit_pngs[0], headers=PNG_TYPE).status_code == 200


def test_a_slow_body_holds_nobody_up(raw: socket.socket, http: httpx.Client, digit_pngs: list[bytes]) -> None:
    """While one client sends byte by byte, others are answered; then the slow one is, too."""
    png = digit_pngs[0]
    raw.sendall(head(len(png), "Content-Type: image/png"))
    for place in range(len(png)):
        raw.sendall(png[place : place + 1])
        if place % 20 == 0:
            assert http.post("/predict", content=png, headers=PNG_TYPE).status_code == 200
    assert answer(raw)[0] == 200


def test_pipelined_requests_are_answered_in_order(raw: socket.socket, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """Pipelined requests are answered in order."""
    pngs = digit_pngs[:8]
    raw.sendall(b"".join(head(len(png), "Content-Type: image/png") + png for png in pngs))
    found = [json.loads(answer_exactly(raw)) for _ in pngs]
    assert [it["prediction"] for it in found] == [digits_package.predict(png).predicted_label for png in pngs]


def answer_exactly(connection: socket.socket) -> bytes:
    """Body of one response, without reading beyond it."""
    top = b""
    while not top.endswith(b"\r\n\r\n"):
        top += connection.recv(1)
    length = next(int(line.split(b":")[1]) for line in top.split(b"\r\n") if line.lower().startswith(b"content-length"))
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return body


def test_callers_who_hang_up_disturb_nobody(url: str, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """Half of many clients disconnect early; all others get their own predictions."""
    host, port = url.removeprefix("http://").split(":")

    def leave(png: bytes) -> None:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head(len(png), "Content-Type: image/png") + png)

    def stay(png: bytes) -> str:
        told = httpx.post(f"{url}/predict", content=png, headers=PNG_TYPE, timeout=20)
        return str(told.json()["prediction"])

    with ThreadPoolExecutor(16) as pool:
        for png in digit_pngs[:50]:
            pool.submit(leave, png)
        labels = list(pool.map(stay, digit_pngs[:50]))
    assert labels == [digits_package.predict(png).predicted_label for png in digit_pngs[:50]]


# --- fast path and ASGI path are equal ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "which"),
    [
        ("/predict", "image/png", "picture"),
        ("/models/digits/predict", "application/octet-stream", "picture"),
        ("/predict", "multipart/form-data; boundary=b", "form"),
        ("/models/churn/predict", "application/json", "record"),
        ("/predict", "image/png", "broken"),
        ("/models/nobody/predict", "application/json", "record"),
        ("/models/churn/predict", "application/json", "wrong"),
    ],
)
def test_it_does_not_matter_how_a_request_arrives(
    url: str, path: str, kind: str, which: str, digit_pngs: list[bytes], churn_records: list[dict[str, Any]]
) -> None:
    """One piece, two pieces and chunks give the same response, except for ids and times."""
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + digit_pngs[0] + b"\r\n--b--\r\n"
    record = msgspec.json.encode(churn_records[0])
    wrong = msgspec.json.encode({**churn_records[0], "tenure": "x"})
    body = {"picture": digit_pngs[0], "form": form, "record": record, "wrong": wrong, "broken": digit_pngs[0][:60]}[which]
    start = head(len(body), f"Content-Type: {kind}", path=path)
    chunked = start.replace(f"Content-Length: {len(body)}".encode(), b"Transfer-Encoding: chunked")
    chunks = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    host, port = url.removeprefix("http://").split(":")
    found = []
    for pieces in ([start + body], [start, body], [start + body[:10], body[10:]], [chunked, chunks]):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.02)
            found.append(without_ids(*answer(connection)))
    assert found[1:] == found[:1] * 3


def without_ids(status: int, headers: dict[str, str], body: bytes) -> tuple[Any, ...]:
    """A response without the values that differ between requests: ids, times, lengths."""
    facts = {name: value for name, value in json.loads(body).items() if name not in ("query_id", "execution_time", "request_id")}
    named = {name: value for name, value in headers.items() if name not in ("x-request-id", "date", "content-length")}
    return status, named, facts


def test_an_id_given_by_the_caller_comes_back(http: httpx.Client, digit_pngs: list[bytes]) -> None:
    """A valid X-Request-Id is returned on responses and errors."""
    own = {"x-request-id": "abc-123"}
    assert http.post("/predict", content=digit_pngs[0], headers={**PNG_TYPE, **own}).headers["x-request-id"] == "abc-123"
    response = http.post("/predict", content=b"x", headers={**PNG_TYPE, **own})
    assert response.json()["request_id"] == response.headers["x-request-id"] == "abc-123"


# --- concurrency --------------------------------------------------------------------------------------------------------


def test_answers_among_strangers_are_those_alone(
    url: str, digits_package: Package, churn_package: Package, digit_pngs: list[bytes], churn_records: list[dict[str, Any]]
) -> None:
    """Concurrent images, records and batches get the same predictions as alone, within tolerance."""

    def pictures(place: int) -> None:
        body = httpx.post(f"{url}/predict", content=digit_pngs[place], headers=PNG_TYPE, timeout=20).json()
        alone = digits_package.predict(digit_pngs[place])
        assert body["prediction"] == alone.predicted_label
        assert np.allclose(body["probabilities"], alone.probabilities, rtol=0, atol=digits_package.manifest.golden_tolerance)

    def records(place: int) -> None:
        some = churn_records[place : place + 1 + place % 10]
        many = httpx.post(f"{url}/models/churn/predict", json=some, timeout=20).json()
        for told, record in zip(many, some, strict=True):
            alone = churn_package.predict(record)
            assert told["prediction"] == alone.predicted_label
            assert np.allclose(told["probabilities"], alone.probabilities, rtol=0, atol=churn_package.manifest.golden_tolerance)

    with ThreadPoolExecutor(16) as pool:
        work = [pool.submit(job, place) for place in range(80) for job in (pictures, records)]
        for one in work:
            one.result()


# --- arbitrary input -----------------------------------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ["tenure", "monthlycharges", "contract", "partner"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(_FIELDS), _json, min_size=4) | st.lists(_json, max_size=3) | _json)
def test_no_json_is_a_server_error(http: httpx.Client, body: Any) -> None:
    """Any JSON, with NaN and infinite numbers, gives a prediction or an error code, never a 500."""
    response = http.post("/models/churn/predict", content=json.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code in (200, 400, 413, 422), response.text
    assert response.status_code == 200 or response.json()["code"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damaged_picture_is_a_server_error(http: httpx.Client, data: st.DataObject, digit_pngs: list[bytes]) -> None:
    """A damaged image gives a prediction or an error code, never a 500."""
    whole = data.draw(st.sampled_from([digit_pngs[0], picture((40, 30), "RGB", "JPEG"), picture((40, 30), "RGB", "WEBP")]))
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 20)))
    response = http.post("/predict", content=whole[:start] + data.draw(st.binary(max_size=8)) + whole[stop:], headers=PNG_TYPE)
    assert response.status_code in (200, 413, 415, 422), response.text
