"""HTTP errors: one body, one status map, and no client data."""

from __future__ import annotations

import inspect
import json

import pytest

from relevo import errors
from relevo.web import errors as errors_module

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RelevoError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_every_error_has_a_status(kind: type[errors.RelevoError]) -> None:
    """Every error is a 4xx or 5xx, and input errors are never 5xx."""
    status = errors_module.status_of(kind)
    assert 400 <= status < 600
    if issubclass(kind, errors.InvalidInputError):
        assert status < 500


def test_no_row_of_the_map_is_left_over() -> None:
    """The map contains existing codes only."""
    assert errors_module.STATUS.keys() <= {kind.code for kind in KINDS}


def test_a_child_answers_as_its_nearest_mapped_parent() -> None:
    """An error class inherits its parent's status unless it has its own entry."""
    assert errors_module.status_of(errors.UnknownCategoryError) == 422
    assert errors_module.status_of(errors.BodyTooLargeError) == 413
    assert errors_module.status_of(errors.UnsupportedImageError) == 415
    assert errors_module.status_of(errors.BrokenImageError) == 422


def test_the_body_is_the_promised_one() -> None:
    """Body: error, code, field, request_id; content type: application/json without charset."""
    status, headers, body = errors_module.error_response(errors.MissingFieldError(field="tenure", expected="a number"), "es", "r-1")
    assert (status, dict(headers)[b"content-type"]) == (422, b"application/json")
    assert int(dict(headers)[b"content-length"]) == len(body)
    assert json.loads(body) == {
        "error": "Falta el campo 'tenure'; se espera un número.",
        "code": "field_missing",
        "field": "tenure",
        "request_id": "r-1",
    }


def test_field_is_left_out_where_there_is_none() -> None:
    """Errors without a field have no `field` key."""
    assert "field" not in json.loads(errors_module.error_response(errors.BrokenImageError(), "en", "r")[2])


@pytest.mark.parametrize(
    "error", [errors.OverloadedError(limit=5), errors.ConcurrencyLimitError(limit=2), errors.DatabaseUnavailableError()]
)
def test_come_back_later_says_when(error: errors.RelevoError) -> None:
    """429 and 503 have Retry-After in whole seconds, varied by request."""
    waits = {int(dict(errors_module.error_response(error, "en", f"r{number}")[1])[b"retry-after"]) for number in range(50)}
    assert waits == {1, 2, 3}


def test_method_not_allowed_names_the_methods() -> None:
    """405 has Allow."""
    status, headers, _ = errors_module.error_response(errors.MethodNotAllowedError(allowed="GET, PUT"), "en", "r")
    assert (status, dict(headers)[b"allow"]) == (405, b"GET, PUT")


def test_what_is_wrong_with_the_servers_files_is_for_its_log(caplog: pytest.LogCaptureFixture) -> None:
    """Clients get a generic message in their language; the log has the paths."""
    error = errors.ConfigError(reason="the key file /srv/home/keys/audit.key cannot be read")
    told = [json.loads(errors_module.error_response(error, language, "r")[2]) for language in ("en", "es")]
    assert [one["code"] for one in told] == ["config_refused"] * 2
    assert told[0]["error"] == "The server's own files or settings cannot be used; its log says why."
    assert told[1]["error"].startswith("Los archivos")
    assert "/srv/home/keys/audit.key" in caplog.text
