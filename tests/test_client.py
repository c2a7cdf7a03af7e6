"""The client against a real HTTP server with scripted responses."""

from __future__ import annotations

import json
import pickle
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

import relevo
from relevo.client import Client
from relevo.config import Settings
from relevo.errors import (
    AuthenticationError,
    ConfigError,
    InvalidJsonError,
    MissingFieldError,
    ModelNotFoundError,
    OverloadedError,
    PredictionNotFoundError,
    RelevoError,
    UnavailableError,
    by_code,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n rest"
ANSWER = {
    "query_id": "0193a0b0-0000-7000-8000-000000000001",
    "model": "digits",
    "version": 3,
    "prediction": "7",
    "class": 7,
    "confidence": 0.98,
    "probabilities": [0.02, 0.98],
    "uncertain": False,
    "execution_time": "0.002 s",
}


@dataclass(frozen=True, kw_only=True)
class ReceivedRequest:
    """One received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """A server that returns `replies` in turn and repeats the last: (status, JSON) or a function of the request."""

    replies: list[Any] = field(default_factory=list)
    asked: list[ReceivedRequest] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = ReceivedRequest(
                method=self.command, path=self.path, headers={k.lower(): v for k, v in self.headers.items()}, body=body
            )
            told.asked.append(asked)
            reply = told.replies.pop(0) if len(told.replies) > 1 else told.replies[0]
            status, content, *headers = reply(asked) if callable(reply) else reply
            if status is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            payload = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Writes no log."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield told
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with relevo.Client(server.url, key="k") as connected:
        yield connected


def test_a_picture_goes_as_it_is(server: Server, client: Client, tmp_path: Path) -> None:
    """Bytes and paths (also as text) are sent raw with the detected media type, and the result is typed."""
    server.replies = [(200, ANSWER)]
    (tmp_path / "seven.png").write_bytes(PNG)
    for image in (PNG, tmp_path / "seven.png", str(tmp_path / "seven.png")):
        result = client.predict("digits", image)
        assert (result.prediction, result.index, result.version, result.probabilities) == ("7", 7, 3, (0.02, 0.98))
    for request in server.asked:
        assert (request.method, request.path, request.body) == ("POST", "/models/digits/predict", PNG)
        assert request.headers["content-type"] == "image/png"
        assert request.headers["authorization"] == "Bearer k"


def test_a_key_is_sent_as_it_was_made_or_not_at_all(server: Server) -> None:
    """The line end of a key from a file is stripped; an invalid key is rejected before any request."""
    server.replies = [(200, {"models": []})]
    with relevo.Client(server.url, key="rlv_1_secret\n") as client:
        client.models()
    assert server.asked[0].headers["authorization"] == "Bearer rlv_1_secret"
    for odd in ("clave-ñ", "rlv_1\r\nX-Other: 1", "\ud800", "\x00"):
        with pytest.raises(AuthenticationError) as refused:
            relevo.Client(server.url, key=odd)
        assert odd not in str(refused.value)


def test_whom_it_is_about_goes_in_a_header(server: Server, client: Client) -> None:
    """The subject is a header, in any script, for one input and for many; without a subject there is no header."""
    server.replies = [(200, ANSWER), (200, ANSWER), (200, [ANSWER]), (200, ANSWER)]
    client.predict("digits", PNG, subject="Íñigo 7")
    client.predict_many("digits", [PNG], subject="Íñigo 7")
    client.predict_many("digits", [{"a": 1}], subject="Íñigo 7")
    client.predict("digits", PNG)
    subjects = [request.headers.get("relevo-subject") for request in server.asked]
    # The library of this test reads headers as Latin-1.
    assert [subject and subject.encode("latin-1").decode() for subject in subjects] == ["Íñigo 7", "Íñigo 7", "Íñigo 7", None]


def test_a_picture_can_go_as_a_form(server: Server, client: Client) -> None:
    """An image is sent as a multipart form."""
    server.replies = [(200, ANSWER)]
    assert client.predict_form(None, PNG).prediction == "7"
    assert server.asked[0].headers["content-type"].startswith("multipart/form-data")
    assert PNG in server.asked[0].body
    assert b'name="file"' in server.asked[0].body


def test_a_record_goes_as_json_to_the_default_model(server: Server, client: Client) -> None:
    """A dict is a record; without a model name the default model is used."""
    server.replies = [(200, ANSWER)]
    client.predict(None, {"tenure": 41})
    assert (server.asked[0].path, json.loads(server.asked[0].body)) == ("/predict", {"tenure": 41})


def test_many_records_travel_in_batches(server: Server, client: Client) -> None:
    """Records are sent in batches; results are in order, and progress is reported."""
    server.replies = [lambda request: (200, [{**ANSWER, "prediction": str(one["n"])} for one in json.loads(request.body)])]
    done: list[int] = []
    results = client.predict_many("churn", [{"n": number} for number in range(1201)], progress=done.append)
    assert [one.prediction for one in results] == [str(number) for number in range(1201)]
    assert len(server.asked) == 3
    assert done[-1] == 1201


def test_many_pictures_keep_their_order(server: Server, client: Client) -> None:
    """Images are sent in parallel; results are in the order of the inputs."""
    server.replies = [lambda request: (200, {**ANSWER, "prediction": request.body[-2:].decode()})]
    results = client.predict_many("digits", [PNG + f"{number:02}".encode() for number in range(20)])
    assert [result.prediction for result in results] == [f"{number:02}" for number in range(20)]


def test_the_servers_error_is_raised_as_it_is(server: Server, client: Client) -> None:
    """The error class follows the code; message, field and request id are the server's."""
    words = {"error": "Falta el campo 'tenure'.", "code": "field_missing", "field": "tenure", "request_id": "r1"}
    server.replies = [(422, words)]
    with pytest.raises(MissingFieldError, match=r"Falta el campo 'tenure'\.") as caught:
        client.predict("churn", {})
    assert caught.value.field == "tenure"
    assert caught.value.facts["request_id"] == "r1"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own error


def test_a_code_of_a_later_release_is_an_error_all_the_same(server: Server, client: Client) -> None:
    """An unknown code raises RelevoError with message and code."""
    server.replies = [(418, {"error": "I am a teapot.", "code": "teapot", "request_id": "r"})]
    with pytest.raises(RelevoError, match="teapot") as caught:
        client.predict(None, PNG)
    assert caught.value.facts["code"] == "teapot"


@pytest.mark.parametrize("reply", [(200, b"<html>"), (502, b"bad gateway"), (500, ["odd"])])
def test_a_stranger_on_the_port_is_told(server: Server, client: Client, reply: tuple[int, Any]) -> None:
    """A response that is not from Relevo gives an error with its status, not a parser error."""
    server.replies = [reply]
    with pytest.raises(RelevoError, match=str(reply[0])):
        client.models()


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again(server: Server, client: Client, status: int) -> None:
    """503 and 429 are retried after the Retry-After delay."""
    busy = {"error": "full", "code": "overloaded", "request_id": "r"}
    server.replies = [(status, busy, {"Retry-After": "0"}), (status, busy), (200, ANSWER)]
    assert client.predict("digits", PNG).prediction == "7"
    assert len(server.asked) == 3


def test_patience_ends(server: Server) -> None:
    """After the last retry the server's own error is raised."""
    server.replies = [(503, {"error": "full", "code": "overloaded", "request_id": "r"}, {"Retry-After": "0"})]
    with Client(server.url, retries=2) as client, pytest.raises(OverloadedError, match="full"):
        client.predict("digits", PNG)
    assert len(server.asked) == 3


def test_a_refused_connection_is_tried_again() -> None:
    """A refused connection is retried until the server has started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            payload = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Writes no log."""

    def start_late() -> None:
        with ThreadingHTTPServer(("127.0.0.1", port), Handler) as http:
            http.handle_request()

    late = threading.Timer(0.4, start_late)
    late.start()
    with Client(f"http://127.0.0.1:{port}") as client:
        assert client.predict("digits", PNG).prediction == "7"
    late.join()


def test_nobody_there_is_said_so() -> None:
    """Without a server the error names the URL and the command to start it."""
    with Client("http://127.0.0.1:9", retries=1) as client:
        with pytest.raises(UnavailableError, match=r"No answer from http://127.0.0.1:9 .*relevo serve"):
            client.predict(None, PNG)
        assert client.ready() is False


@pytest.mark.parametrize("address", ["localhost:8000", "127.0.0.1:8000", "", "http://localhost:many"])
def test_what_is_no_address_is_said_so(address: str) -> None:
    """An invalid URL is rejected immediately."""
    with pytest.raises(ConfigError, match="http://"):
        Client(address)


def test_a_prediction_that_was_sent_is_never_sent_again(server: Server, client: Client) -> None:
    """If the connection breaks after the request was sent, the client does not retry a prediction."""
    server.replies = [(None, b"")]
    with pytest.raises(UnavailableError):
        client.predict("digits", PNG)
    assert len(server.asked) == 1


@pytest.mark.parametrize("reset", [True, False])
def test_a_kept_connection_that_was_reset_is_replaced_and_one_that_ended_is_not(*, reset: bool) -> None:
    """A reset before any response means that the request was not read: it is retried once. A close without a reset is not."""
    requests: list[bytes] = []
    body = json.dumps(ANSWER).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def read(connection: socket.socket) -> None:
        received = b""
        while not received.endswith(PNG):
            received += connection.recv(65536)
        requests.append(received)

    def serve() -> None:
        connection, _ = listener.accept()
        read(connection)
        connection.sendall(answer)
        assert connection.recv(1)
        if not reset:
            read(connection)
        # With bytes unread, closing is a reset.
        connection.close()
        if reset:
            connection, _ = listener.accept()
            read(connection)
            connection.sendall(answer)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            assert client.predict("digits", PNG).prediction == "7"
            if reset:
                assert client.predict("digits", PNG).prediction == "7"
            else:
                with pytest.raises(UnavailableError, match="closed the connection without an answer") as lost:
                    client.predict("digits", PNG)
                assert "https://" not in str(lost.value)
        server.join()
    assert len(requests) == 2


def test_a_connection_is_kept_for_less_long_than_servers_do(client: Client) -> None:
    """The client closes idle connections before any common server does."""
    pool: Any = client._http._transport
    assert pool._pool._keepalive_expiry < 5
    assert Settings().keep_alive_seconds >= 75


def test_reading_is_repeated_after_a_break(server: Server, client: Client) -> None:
    """Reads are idempotent and are retried after a broken connection."""
    server.replies = [(None, b""), (200, {"models": [{"name": "digits"}]})]
    assert client.models() == [{"name": "digits"}]


def test_a_label_waits_for_its_prediction(server: Server, client: Client) -> None:
    """A label waits until its recent prediction is in the history."""
    missing = (404, {"error": "not yet", "code": "prediction_not_found", "request_id": "r"})
    server.replies = [missing, missing, (200, {"value": "8"})]
    assert client.label("a/b", "8", note="smudged") == {"value": "8"}
    assert server.asked[-1].path == "/predictions/a%2Fb/label"
    assert json.loads(server.asked[-1].body) == {"value": "8", "note": "smudged"}
    server.replies = [missing]
    with pytest.raises(PredictionNotFoundError):
        client.prediction("nobody", wait=0.0)


def test_the_history_is_read_page_by_page(server: Server, client: Client) -> None:
    """Filters are sent as query parameters; all_history follows the cursor to the end."""
    server.replies = [
        (200, {"items": [{"query_id": "b"}], "next_cursor": "x"}),
        (200, {"items": [{"query_id": "a"}], "next_cursor": None}),
    ]
    assert [row["query_id"] for row in client.all_history(model="digits", uncertain=True, version=None)] == ["b", "a"]
    assert server.asked[0].path == "/predictions?limit=200&model=digits&uncertain=true"
    assert server.asked[1].path.endswith("cursor=x&model=digits&uncertain=true")


def test_a_list_is_read_page_by_page(server: Server, client: Client) -> None:
    """`pages` follows the cursor of any list to the end, with the same filters."""
    server.replies = [(200, {"users": [1], "next_cursor": 7}), (200, {"users": [2], "next_cursor": None})]
    assert [page["users"] for page in client.pages("/users", name="ana", limit=1, role=None)] == [[1], [2]]
    assert [request.path for request in server.asked] == ["/users?name=ana&limit=1", "/users?name=ana&limit=1&cursor=7"]


def test_ready_follows_the_server(server: Server, client: Client) -> None:
    """`ready` returns the state of the server without retries."""
    server.replies = [(503, {"ready": False}), (200, {"ready": True})]
    assert [client.ready(), client.ready()] == [False, True]


def test_every_code_finds_its_class() -> None:
    """by_code knows every class, and returns the root for an unknown code."""
    assert by_code("bad_json") is InvalidJsonError
    assert by_code("model_not_found") is ModelNotFoundError
    assert by_code("of another century") is RelevoError


def test_signing_in_keeps_the_session_and_shows_whose_forms_they_are(server: Server) -> None:
    """After a login every request has the session cookie and the newest CSRF token."""
    server.replies = [
        (200, {"user": {"name": "ana"}, "csrf": "first"}, {"Set-Cookie": "relevo_session=abc; Path=/"}),
        (204, b"", {"X-CSRF-Token": "second"}),
        (200, {"id": 1}),
        (204, b""),
    ]
    with Client(server.url) as client:
        client.set_language("es")
        assert client.sign_in("ana", "secret words here") == {"name": "ana"}
        client.request("POST", "/users/1/password", json={"password": "other words here"})
        assert client.request_json("GET", "/users/1", params={"full": "yes"}) == {"id": 1}
        client.sign_out()
    sent = [
        (request.method, request.path, request.headers.get("x-csrf-token"), request.headers.get("cookie"))
        for request in server.asked
    ]
    assert sent == [
        ("POST", "/login", None, None),
        ("POST", "/users/1/password", "first", "relevo_session=abc"),
        ("GET", "/users/1?full=yes", "second", "relevo_session=abc"),
        ("POST", "/logout", "second", "relevo_session=abc"),
    ]
    assert {request.headers["origin"] for request in server.asked} == {server.url}
    assert {request.headers["accept-language"] for request in server.asked} == {"es"}


def test_a_server_below_a_path_is_signed_in_to(server: Server) -> None:
    """Origin is scheme, host and port only; the path prefix stays in every URL."""
    server.replies = [(200, {"user": {"name": "ana"}, "csrf": "t"}), (204, b"")]
    with Client(server.url + "/relevo/") as client:
        client.sign_in("ana", "secret words here")
        client.request("DELETE", "/keys/1")
    assert [request.path for request in server.asked] == ["/relevo/login", "/relevo/keys/1"]
    assert {request.headers["origin"] for request in server.asked} == {server.url}


def test_a_file_comes_with_its_kind(server: Server, client: Client) -> None:
    """Returns the bytes and the media type without parameters; an error is raised as usual."""
    server.replies = [(200, PNG, {"Content-Type": "image/png; x=y"}), (404, {"error": "No.", "code": "prediction_not_found"})]
    assert client.download("/predictions/1/input", side="64") == ("image/png", PNG)
    assert server.asked[0].path == "/predictions/1/input?side=64"
    with pytest.raises(PredictionNotFoundError):
        client.download("/predictions/2/input")
