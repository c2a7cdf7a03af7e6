"""Every predict path of the real application under generated requests: no 500, one form of refusal, a document that is right."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.support.chaos import children, scaled, talking
from tests.support.image_bombs import picture
from tests.support.server import put, settings_of, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.package.package import Package

pytestmark = pytest.mark.chaos

#: In every generated text; no refusal may repeat it.
_CANARY = "Kanarienvogel"
_EXAMPLES = scaled(200, 5000)
_SHORT_KEYS = {"status_code", "query_id", "prediction", "execution_time", "error"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Request:
    """One generated request."""

    path: str
    kind: str | None
    body: bytes
    headers: dict[str, str]

    def __repr__(self) -> str:
        """Enough of it to send it again, seldom all."""
        return f"Request(path={self.path!r}, kind={self.kind!r}, headers={self.headers!r}, body={self.body[:2000]!r})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Server:
    """The real server with its document; lives as long as the tests of this file."""

    url: str
    document: dict[str, Any]
    connection: http.client.HTTPConnection


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, churn_package: Package, digits_package: Package) -> Iterator[Server]:
    """One worker with a record model, which is the default one, and an image model. It lives through all tests of this file."""
    told = settings_of(tmp_path_factory.mktemp("fuzz"), max_body_mb=1, max_records_per_request=20, max_fields=50, max_parts=5)
    put(told, churn_package)
    put(told, digits_package)
    with started(told) as running:
        workers = children(running.pid, "worker")
        with talking(running.url) as client:
            document = client.get("/openapi.json").json()
        connection = http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=30)
        with contextlib.closing(connection):
            yield Server(url=running.url, document=document, connection=connection)
        assert children(running.pid, "worker") == workers, "a worker died"


# --- what is sent -----------------------------------------------------------------------------------------------------

_texts = st.text(max_size=20).map(lambda text: _CANARY + text)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.integers(-(10**30), 10**30) | _texts
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4), max_leaves=12
)
_fields = st.sampled_from(["tenure", "monthlycharges", "contract", "partner", "Tenure", "", "__proto__"])
_good = st.fixed_dictionaries(
    {
        "tenure": st.integers(0, 72),
        "monthlycharges": st.floats(0, 200),
        "contract": st.sampled_from(["month-to-month", "one_year"]),
        "partner": st.sampled_from(["yes", "no"]),
    }
)
_near = st.builds(lambda good, odd: {**good, **odd}, _good, st.dictionaries(_fields, _values, max_size=2))
_records = st.one_of(_good, _near, st.dictionaries(_fields | _texts, _values, max_size=60))
_json = st.one_of(_records, st.lists(_records, max_size=25), _values)


def _as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _flipped(image: bytes, place: int, byte: int, length: int) -> bytes:
    place %= len(image)
    return (image[:place] + bytes([byte]) + image[place + 1 :])[: max(length, 1)]


_pictures = st.builds(
    _flipped,
    st.sampled_from([picture("PNG", 8), picture("JPEG", 16), picture("WEBP", 16)]),
    st.integers(0, 10**6),
    st.integers(0, 255),
    st.integers(1, 10**6) | st.just(10**6),
)
_parts = st.tuples(
    st.sampled_from(["file", "image", "my_image", "model", "tenure", "partner", 'a"b', "é"]),
    st.none() | st.sampled_from(["", "a.png", "../../etc/passwd", 'a"; name="x']),
    st.one_of(_pictures, st.binary(max_size=50), _texts.map(lambda text: text.encode("utf-8", "replace"))),
)


def _multipart(parts: list[tuple[str, str | None, bytes]], cut: int) -> bytes:
    body = b""
    for name, file_name, content in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name is not None else "")
        body += b"--limit\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"
    return (body + b"--limit--\r\n")[: cut or None]


_form_texts = st.one_of(st.integers(0, 100).map(str), st.sampled_from(["yes", "one_year"]), _texts)
_forms = st.lists(st.tuples(_fields, _form_texts), max_size=8).map(lambda pairs: urlencode(pairs, errors="replace").encode())
_multiparts = st.builds(_multipart, st.lists(_parts, max_size=7), st.just(0) | st.integers(1, 200))
_LIMIT = "multipart/form-data; boundary=limit"
_typed = st.one_of(
    st.tuples(st.sampled_from(["application/json", "application/json; charset=utf-8", "application/ld+json"]), _json.map(_as_json)),
    st.tuples(st.sampled_from(["image/png", "application/octet-stream", "image/jpeg"]), _pictures),
    st.tuples(st.just("application/x-www-form-urlencoded"), _forms),
    st.tuples(st.sampled_from([_LIMIT, "multipart/form-data", "multipart/form-data; boundary=", _LIMIT + "x"]), _multiparts),
)
_any_kind = st.none() | st.sampled_from(["", "text/plain", "text/html", "a/b/c", ";", "*/*", "application/json;;", "IMAGE/PNG"])
_mixed = st.tuples(_any_kind, st.one_of(st.binary(max_size=300), _json.map(_as_json), _pictures, _forms, _multiparts))
_names = st.one_of(st.sampled_from(["churn", "digits", "nobody", "", "..", "%00", "Churn"]), _texts).map(
    lambda name: quote(name, safe="%")
)
_paths = st.one_of(
    st.sampled_from(["/predict", "/predict/", "/submit", "/models/churn/predict", "/models/digits/predict", "/models//predict"]),
    _names.map(lambda name: f"/models/{name}/predict"),
    _names.map(lambda name: f"/submit?model={name}"),
    _names.map(lambda name: f"/predict?{name}"),
)
_headers = st.fixed_dictionaries(
    {},
    optional={
        "Accept-Language": st.sampled_from(["es", "en;q=0", "xx, *;q=0.1", ";;;", "es" * 500]),
        "Accept": st.sampled_from(["text/html", "application/json", "*/*", ""]),
        "Content-Encoding": st.sampled_from(["gzip", "identity", ""]),
        "X-Request-ID": st.sampled_from(["a", "x" * 300, "ñ".encode().decode("latin-1"), "a b"]),
        "Expect": st.just("100-continue"),
        "Cookie": st.just("lang=xx"),
    },
)
_requests = st.builds(
    lambda path, typed, headers: Request(path=path, kind=typed[0], body=typed[1], headers=headers),
    _paths,
    _typed | _mixed,
    _headers,
)


# --- what must hold -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # some bodies are long
@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=_EXAMPLES < 1000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(request=_requests)
def test_whatever_comes_is_answered_or_refused_in_one_form(server: Server, request: Request) -> None:
    """Any bytes under any type on any predict path: 2xx or 4xx, exactly typed, error and code are strings, nothing is echoed."""
    note(repr(request))
    status, headers, body = _send(server, request)
    assert status < 500, body[:500]
    template = request.path.split("?")[0]
    # A path that is not in the document is an unknown model.
    documented = server.document["paths"].get(template, {"post": {"responses": {"404": {}, "default": {}}}})["post"]["responses"]
    assert documented.keys() & {str(status), "default"}, f"{status} of {template} is not in the document"
    assert status != 200 or "200" in documented
    if template == "/submit":
        assert headers["content-type"].startswith("text/html")
        return
    assert headers["content-type"] == "application/json"
    told = json.loads(body)
    if template == "/predict/":
        assert told.keys() >= _SHORT_KEYS
        assert told["status_code"] == status
    if status == 200:
        _check_answer(told, template)
    else:
        assert isinstance(told["error"], str)
        assert isinstance(told["code"], str)
        assert told["request_id"] == headers["x-request-id"]
        # The name of a model, a field or a parameter is an address, no value.
        assert _CANARY not in body.decode() or told["code"] in {"model_not_found", "field_unknown", "parameter_unknown"}


def _check_answer(told: Any, template: str) -> None:
    answers = told if isinstance(told, list) else [told]
    for answer in answers:
        assert UUID(answer["query_id"]).version == 7
        if template != "/predict/":
            assert abs(sum(answer["probabilities"]) - 1) < 1e-4
            assert answer["confidence"] == max(answer["probabilities"])


def _send(server: Server, request: Request) -> tuple[int, http.client.HTTPMessage, bytes]:
    headers = dict(request.headers)
    if request.kind is not None:
        headers["Content-Type"] = request.kind
    # One try on a fresh connection: the server may close the old one after a refusal in the midst of a body.
    for attempt in (0, 1):
        try:
            server.connection.request("POST", request.path, body=request.body, headers=headers)
            response = server.connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException):
            server.connection.close()
            if attempt:
                raise
    raise AssertionError


_pieces = st.lists(st.integers(1, 400), max_size=12)
_trains = st.lists(st.tuples(_good, st.sampled_from(["sized", "chunked", "broken", "image"])), min_size=1, max_size=5)


@settings(
    max_examples=scaled(60, 2000),
    deadline=None,
    database=None,
    derandomize=_EXAMPLES < 1000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(train=_trains, pieces=_pieces)
def test_requests_on_one_connection_are_answered_in_their_order(
    server: Server, churn_package: Package, train: list[tuple[dict[str, Any], str]], pieces: list[int]
) -> None:
    """Whatever follows whatever, in however small pieces: as many answers as questions, each to its own."""
    host = urlsplit(server.url)
    stream = b"".join(_on_the_wire(record, how) for record, how in train)
    with socket.create_connection((host.hostname, host.port), timeout=20) as connection, connection.makefile("rb") as answers:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(stream[:piece])
            stream = stream[piece:]
            # Pieces sent at once would arrive as one.
            time.sleep(0.0005)
        connection.sendall(stream)
        for record, how in train:
            status, told = _next_answer(answers)
            assert status == (200 if how in {"sized", "chunked"} else 400 if how == "broken" else 415), (how, told)
            if status == 200:
                expected = churn_package.predict(record)
                assert told["probabilities"] == pytest.approx(list(expected.probabilities), abs=1e-6)


def _on_the_wire(record: dict[str, Any], how: str) -> bytes:
    body = {"broken": b'{"tenure": ', "image": picture("PNG", 8)}.get(how, json.dumps(record).encode())
    kind = b"image/png" if how == "image" else b"application/json"
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + kind
    if how == "chunked":
        middle = len(body) // 2
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:middle], body[middle:]))
        return head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _next_answer(answers: BinaryIO) -> tuple[int, Any]:
    status = int(answers.readline().split()[1])
    length = 0
    while (line := answers.readline()) not in {b"\r\n", b""}:
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    return status, json.loads(answers.read(length))


def test_no_request_made_from_the_document_breaks_predicting(server: Server, tmp_path: Path) -> None:
    """Valid and broken requests to the predict paths, made from /openapi.json, meet only documented answers."""
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    config = tmp_path / "schemathesis.toml"
    # What the document cannot say: which model takes what, and that bytes of the right type may be no picture.
    config.write_text("[checks]\npositive_data_acceptance.enabled = false\n", encoding="utf-8")
    command = [
        str(Path(sys.executable).with_name("st")),
        "--config-file",
        str(config),
        "run",
        f"{server.url}/openapi.json",
        "--include-path-regex",
        r"predict/?$|submit",
        f"--max-examples={scaled(25, 1000)}",
        "--workers=1",
        "--seed=1",
        "--no-color",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=scaled(120, 1800), check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
