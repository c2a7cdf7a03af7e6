"""The whole app over a real connection and a real store: routes, errors, headers."""

from __future__ import annotations

import io
import json
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from tests.support.web_app import METRICS, prediction

from relevo.domain import ids
from relevo.domain.prediction import InputKind
from relevo.errors import DatabaseUnavailableError
from relevo.web.app import build_api

if TYPE_CHECKING:
    import httpx
    from tests.support.web_app import World


def png(shade: int = 30, **save: Any) -> bytes:
    target = io.BytesIO()
    Image.new("L", (20, 20), shade).save(target, format="PNG", **save)
    return target.getvalue()


def is_problem(response: httpx.Response, status: int, code: str) -> bool:
    body = response.json()
    assert (response.status_code, body["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/json"
    assert body.keys() <= {"error", "code", "field", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    return True


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/models/", 404, "not_found"),
        ("GET", "/static/relevo-000000000000.css", 404, "not_found"),
        ("POST", "/health/live", 405, "method_not_allowed"),
        ("GET", "/models/nobody", 404, "model_not_found"),
        ("GET", "/models/NO%00/aliases", 422, "parameter_wrong"),
        ("GET", "/models/digits/versions/9", 404, "version_not_found"),
        ("GET", "/models/digits/versions/99999999999999999999", 422, "parameter_wrong"),
        ("GET", "/models/digits/versions/two", 422, "parameter_wrong"),
        ("GET", "/models/digits/aliases/nobody", 404, "alias_not_found"),
        ("GET", f"/predictions/{uuid.UUID(int=0)}", 404, "prediction_not_found"),
        ("GET", "/predictions/not-an-id", 404, "prediction_not_found"),
        ("GET", f"/predictions/{uuid.UUID(int=0)}/input", 404, "prediction_not_found"),
        ("GET", "/predictions?limit=201", 422, "parameter_wrong"),
        ("GET", "/predictions?limit=0", 422, "parameter_wrong"),
        ("GET", "/predictions?modle=digits", 422, "parameter_unknown"),
        ("GET", "/predictions?since=yesterday", 422, "parameter_wrong"),
        ("GET", "/predictions?since=1700000000", 422, "parameter_wrong"),
        ("GET", "/predictions?uncertain=maybe", 422, "parameter_wrong"),
        ("GET", "/predictions?cursor=abc", 422, "parameter_wrong"),
        ("GET", "/predictions?model=%00", 422, "parameter_wrong"),
    ],
)
def test_every_refusal_has_our_body(client: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    """Every error, also for unknown paths and methods, has Relevo's error body."""
    assert is_problem(client.request(method, path), status, code)


def test_a_wrong_parameter_is_named_in_the_callers_language(client: httpx.Client) -> None:
    """The error names the field, and its message follows Accept-Language."""
    body = client.get("/predictions?limit=0", headers={"Accept-Language": "es"}).json()
    assert body["field"] == "limit"
    assert body["error"].startswith("El parámetro 'limit' espera un número")


def test_405_names_every_method_of_the_path(client: httpx.Client) -> None:
    """Allow lists the methods of all routes of the path, predict paths included."""
    assert client.delete(f"/predictions/{uuid.UUID(int=0)}/label").headers["allow"] == "GET, PUT"
    assert is_problem(client.get("/models/digits/predict"), 405, "method_not_allowed")
    assert client.get("/submit").headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/health/ready", "/models/digits"])
def test_head_is_get_without_the_body(client: httpx.Client, path: str) -> None:
    """HEAD is answered like GET, without a body."""
    response = client.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == client.get(path).headers["content-type"]


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/models", "/nothing", "/health/live", "/metrics"])
def test_every_answer_is_sealed(client: httpx.Client, path: str) -> None:
    """All responses, errors too, have the security headers."""
    headers = client.get(path, headers={"X-Request-Id": "abc-1"}).headers
    assert headers["x-request-id"] == "abc-1"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/predictions", "/models", "/users", "/metrics", "/labels", "/audit", "/nothing"])
def test_no_answer_is_left_in_a_cache(client: httpx.Client, path: str) -> None:
    """Responses are no-store unless the route sets a policy; static files are cacheable."""
    assert client.get(path).headers.get_list("cache-control") == ["no-store"]
    assert client.head(path).headers.get_list("cache-control") == ["no-store"]
    assert client.get("/favicon.ico").headers.get_list("cache-control") == ["public, max-age=86400"]


@pytest.mark.parametrize("name", ["a b", "x" * 65, "<script>", ""])
def test_a_strange_request_id_is_replaced(client: httpx.Client, name: str) -> None:
    """An invalid X-Request-Id is not echoed."""
    given = client.get("/health/live", headers={"X-Request-Id": name}).headers["x-request-id"]
    assert given != name
    assert len(given) == 16


def test_an_accident_is_answered_without_its_trace(world: World, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception gives a 500 without internal details."""
    monkeypatch.setattr(type(world.service), "models", lambda _: 1 / 0)
    response = client.get("/")
    assert is_problem(response, 500, "internal")
    assert "division" not in response.text


def test_an_accident_in_the_predict_handlers_is_answered_too(
    world: World, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ErrorMiddleware covers the raw handlers."""
    monkeypatch.setattr(type(world.service), "models", lambda _: 1 / 0)
    assert is_problem(client.post("/predict"), 500, "internal")


def test_a_database_away_is_a_503(world: World, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the database the history gives 503 with Retry-After; the model page works."""

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailableError

    monkeypatch.setattr(type(world.store.predictions), "page", away)
    response = client.get("/predictions")
    assert is_problem(response, 503, "store_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert client.get("/").status_code == 200


def test_the_framework_reports_to_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI's telemetry stays off, even if the environment enables it."""
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    told = getattr(build_api(world.context), "_telemetry", None)
    if told is None:
        pytest.skip("this FastAPI reports nothing")
    assert {name for name, on in told.items() if on} == set()


# --- health ---------------------------------------------------------------------------------------------------------


def test_ready_tells_the_truth(world: World, client: httpx.Client) -> None:
    """Readiness is 200 with each model's state, or 503 with a reason, while liveness stays 200."""
    body = client.get("/health/ready").json()
    assert (body["ready"], [model["name"] for model in body["models"]]) == (True, ["churn", "digits", "rent"])
    world.service.reason = "the server is stopping"
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["reason"]) == (503, "the server is stopping")
    assert client.get("/health/live").status_code == 200


def test_metrics_are_prometheus_text(client: httpx.Client) -> None:
    """The metrics of all workers, with Prometheus' content type."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.content == METRICS


# --- models ---------------------------------------------------------------------------------------------------------


def test_models_tell_versions_and_aliases(client: httpx.Client) -> None:
    """The list joins registry and worker state; a model lists its versions."""
    listed = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert (listed["digits"]["aliases"], listed["digits"]["serving"], listed["digits"]["ready"]) == ({"champion": 1}, 1, True)
    one = client.get("/models/digits").json()
    assert [version["version"] for version in one["history"]] == [1]
    assert client.get("/models/digits/versions/1").json() == one["history"][0]


def test_an_alias_moves_once_under_its_etag(world: World, client: httpx.Client) -> None:
    """Of two changes with the same ETag, the second gets 412; the history keeps reasons."""
    world.store.registry.add(model="digits", digest="f" * 64, summary={}, author="test", at=datetime.now(UTC))
    etag = client.get("/models/digits/aliases/champion").headers["etag"]
    moved = client.put("/models/digits/aliases/champion", json={"version": 2, "reason": "better"}, headers={"If-Match": etag})
    assert (moved.status_code, moved.json()["previous"], moved.json()["version"]) == (200, 1, 2)
    late = client.put("/models/digits/aliases/champion", json={"version": 1}, headers={"If-Match": etag})
    assert is_problem(late, 412, "stale_state")
    body = client.get("/models/digits/aliases").json()
    assert body["aliases"] == {"champion": 2}
    assert [move["reason"] for move in body["moves"]] == ["better", "first"]
    newest = client.get("/models/digits/aliases?limit=1").json()
    assert [move["reason"] for move in newest["moves"]] == ["better"]
    older = client.get(f"/models/digits/aliases?limit=1&before={newest['next_before']}").json()
    assert ([move["reason"] for move in older["moves"]], older["next_before"]) == (["first"], None)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_json"),
        (b"[]", 422, "parameter_wrong"),
        (b'{"version": "2"}', 422, "parameter_wrong"),
        (b'{"version": 2, "resaon": "x"}', 422, "parameter_wrong"),
        (b'{"version": 7}', 404, "version_not_found"),
        (b'{"version": ' + b"9" * 5000 + b"}", 400, "bad_json"),
    ],
)
def test_a_bad_move_is_refused(client: httpx.Client, body: bytes, status: int, code: str) -> None:
    """Invalid JSON, types, keys and versions each have their own error."""
    response = client.put("/models/digits/aliases/champion", content=body, headers={"Content-Type": "application/json"})
    assert is_problem(response, status, code)


# --- history ----------------------------------------------------------------------------------------------------------


def test_history_pages_through_everything_once(world: World, client: httpx.Client) -> None:
    """Following next_cursor returns every prediction once, newest first, with its label."""
    some = [prediction(id=ids.new_id(1_700_000_000_000 + number)) for number in range(7)]
    world.store.predictions.insert(some)
    client.put(f"/predictions/{ids.text(some[0].id)}/label", json={"value": "3"})
    met: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get("/predictions", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        met += page["items"]
        cursor = page["next_cursor"]
    assert [item["query_id"] for item in met] == [ids.text(one.id) for one in reversed(some)]
    assert [item["label"] for item in met] == [None] * 6 + ["3"]


def test_history_is_narrowed(world: World, client: httpx.Client) -> None:
    """Filters by model, version, prediction, uncertainty and time."""
    world.store.predictions.insert(
        [
            prediction(id=ids.new_id(1_700_000_000_000), predicted_label="1", uncertain=True),
            prediction(id=ids.new_id(1_700_000_001_000), model="churn", predicted_label="stays", version=2),
        ]
    )

    def labels(**narrow: Any) -> list[str]:
        return [item["prediction"] for item in client.get("/predictions", params=narrow).raise_for_status().json()["items"]]

    assert labels() == ["stays", "1"]
    assert labels(model="digits") == labels(uncertain="true") == labels(prediction="1") == labels(version=1) == ["1"]
    assert labels(since="2023-11-14T22:13:21Z") == labels(uncertain="false") == ["stays"]
    assert labels(until="2023-11-14T22:13:21+00:00") == ["1"]


def test_a_prediction_is_told_in_full(world: World, client: httpx.Client) -> None:
    """A prediction shows probabilities, arm, latency and time, never its input or subject."""
    made = prediction(scores=np.array([0.25, 0.75], dtype="<f4").tobytes(), subject="someone", at_us=1_700_000_000_000_000)
    world.store.predictions.insert([made])
    body = client.get(f"/predictions/{ids.text(made.id)}").json()
    assert body["probabilities"] == [0.25, 0.75]
    assert (body["prediction"], body["arm"], body["latency_ms"]) == ("7", "champion", 1.5)
    assert datetime.fromisoformat(body["at"]) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert "someone" not in json.dumps(body)


def test_an_image_comes_back_bare(world: World, client: httpx.Client) -> None:
    """A stored image is returned as pixels only, without metadata."""
    from PIL.PngImagePlugin import PngInfo

    secret = PngInfo()
    secret.add_text("Comment", "where I live")
    data = png(77, pnginfo=secret)
    assert b"where I live" in data
    made = prediction(kind=InputKind.IMAGE, input=data)
    world.store.predictions.insert([made])
    answer = client.get(f"/predictions/{ids.text(made.id)}/input")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == f'attachment; filename="{ids.text(made.id)}.png"'
    assert b"where I live" not in answer.content
    assert np.asarray(Image.open(io.BytesIO(answer.content))).tolist() == [[77] * 20] * 20


def test_a_record_comes_back_as_it_was(world: World, client: httpx.Client) -> None:
    """A stored record is returned as the JSON that was sent, as a download."""
    made = prediction(input=b'{"tenure": 4}')
    world.store.predictions.insert([made])
    answer = client.get(f"/predictions/{ids.text(made.id)}/input")
    assert (answer.content, answer.headers["content-type"]) == (b'{"tenure": 4}', "application/json")
    assert answer.headers["content-disposition"].startswith("attachment")


def test_an_image_can_be_asked_for_small(world: World, client: httpx.Client) -> None:
    """`side` limits the image size; values out of range are rejected."""
    made = prediction(kind=InputKind.IMAGE, input=png())
    world.store.predictions.insert([made])
    where = f"/predictions/{ids.text(made.id)}/input"
    small = Image.open(io.BytesIO(client.get(where, params={"side": 16}).content))
    assert small.size == (16, 16)
    assert client.get(where, params={"side": 1}).status_code == 422


def test_an_input_that_was_not_kept_says_so(world: World, client: httpx.Client) -> None:
    """The error names the setting."""
    made = prediction(input=None)
    world.store.predictions.insert([made])
    assert is_problem(client.get(f"/predictions/{ids.text(made.id)}/input"), 404, "input_not_kept")


# --- labels -----------------------------------------------------------------------------------------------------------


def test_a_label_is_kept_once_and_corrected_by_another(world: World, client: httpx.Client) -> None:
    """A repeated label is one entry; a new one overrides it, and both stay listed."""
    made = prediction()
    world.store.predictions.insert([made])
    where = f"/predictions/{ids.text(made.id)}/label"
    for value in ("3", "3", "5"):
        assert client.put(where, json={"value": value}).json()["value"] == value
    body = client.get(where).json()
    assert body["label"] == "5"
    assert [truth["value"] for truth in body["history"]] == ["3", "5"]


def test_a_label_waits_for_its_fresh_prediction(world: World, client: httpx.Client) -> None:
    """A label that arrives before the journal is shipped is stored."""
    made = prediction()
    later = threading.Timer(0.4, world.store.predictions.insert, ([made],))
    later.start()
    assert client.put(f"/predictions/{ids.text(made.id)}/label", json={"value": "3"}).status_code == 200
    later.join()


@pytest.mark.parametrize("value", ["", "a" * 201, "zero\0byte", "\x1b[31m", True, [1]])
def test_a_wrong_label_is_refused_by_its_fields_name(client: httpx.Client, value: object) -> None:
    """The error names the field of the request, not the validator's."""
    told = client.put(f"/predictions/{uuid.UUID(int=0)}/label", json={"value": value})
    assert is_problem(told, 422, "parameter_wrong")
    assert told.json()["field"] == "value"


def test_what_is_put_is_json_by_any_name(world: World, client: httpx.Client) -> None:
    """`curl -X PUT -d` sends JSON with the content type of a form; labels and aliases accept it."""
    made = prediction()
    world.store.predictions.insert([made])
    for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
        put = client.put(f"/predictions/{ids.text(made.id)}/label", content=b'{"value": "7"}', headers={"content-type": kind})
        assert (put.status_code, put.json()["value"]) == (200, "7")
    alias = client.put("/models/digits/aliases/canary", content=b'{"version": 1}', headers={"content-type": "text/plain"})
    assert alias.status_code == 200
    assert is_problem(client.put("/models/digits/aliases/canary", content=b"version=1"), 400, "bad_json")


@pytest.mark.parametrize(
    ("kind", "body", "status", "told"),
    [
        ("multipart/form-data; boundary=b", b"--b\r\nrubbish", 400, "cannot be read"),
        ("multipart/form-data", b"", 400, "cannot be read"),
        ("application/x-www-form-urlencoded", b"query_id=\xff", 400, "cannot be read"),
        ("application/x-www-form-urlencoded", b"&".join(b"f%d=1" % n for n in range(50)), 413, "fields or parts"),
        ("application/x-www-form-urlencoded", b"value=" + b"9" * 2**17, 413, "The body is larger than"),
        (
            "multipart/form-data; boundary=b",
            b"".join(b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % n for n in range(50)) + b"--b--\r\n",
            413,
            "fields or parts",
        ),
        ("application/x-www-form-urlencoded", b"value=3", 422, "query_id"),
        ("application/x-www-form-urlencoded", b"query_id=x", 422, "value"),
        ("application/x-www-form-urlencoded", b"query_id=x&value=" + b"9" * 201, 422, "value"),
        ("application/x-www-form-urlencoded", b"query_id=x&value=%1b", 422, "value"),
    ],
)
def test_broken_feedback_is_called_what_it_is(client: httpx.Client, kind: str, body: bytes, status: int, told: str) -> None:
    """Malformed feedback forms give an error page."""
    answered = client.post("/feedback", content=body, headers={"content-type": kind})
    assert (answered.status_code, answered.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert told in answered.text


def test_an_old_unknown_prediction_is_refused_at_once(client: httpx.Client) -> None:
    """Only recent ids are polled for."""
    begun = time.monotonic()
    old = ids.text(ids.new_id(1_700_000_000_000))
    assert is_problem(client.put(f"/predictions/{old}/label", json={"value": "3"}), 404, "prediction_not_found")
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("model", "body", "code"),
    [
        ("digits", {"value": "ten"}, "label_refused"),
        ("digits", {"value": ""}, "parameter_wrong"),
        ("digits", {"value": None}, "parameter_wrong"),
        ("digits", {}, "parameter_wrong"),
        ("digits", {"value": "3", "extra": 1}, "parameter_wrong"),
        ("digits", {"value": True}, "parameter_wrong"),
        ("rent", {"value": "a lot"}, "label_not_number"),
        ("rent", {"value": "nan"}, "label_not_number"),
    ],
)
def test_a_label_the_model_cannot_answer_is_refused(world: World, client: httpx.Client, model: str, body: Any, code: str) -> None:
    """Labels must be among the model's, or a finite number for a regression; the error lists them."""
    made = prediction(model=model)
    world.store.predictions.insert([made])
    assert is_problem(client.put(f"/predictions/{ids.text(made.id)}/label", json=body), 422, code)


def test_a_regressions_truth_is_a_number(world: World, client: httpx.Client) -> None:
    """Numbers are accepted as JSON numbers and as text."""
    made = prediction(model="rent", predicted_label=None, value=900.0)
    world.store.predictions.insert([made])
    where = f"/predictions/{ids.text(made.id)}/label"
    assert client.put(where, json={"value": 950}).json()["value"] == "950"
    assert client.put(where, json={"value": "960.5"}).json()["value"] == "960.5"


def test_labels_of_a_version_no_longer_served_are_known(world: World, client: httpx.Client) -> None:
    """Labels are validated against the version that predicted, even if no longer served."""
    made = prediction()
    world.store.predictions.insert([made])
    world.service.manifests = []
    where = f"/predictions/{ids.text(made.id)}/label"
    assert client.put(where, json={"value": "9"}).status_code == 200
    assert is_problem(client.put(where, json={"value": "cat"}), 422, "label_refused")
