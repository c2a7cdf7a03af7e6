"""Errors over HTTP: one body, one map, and nothing the caller sent."""

from __future__ import annotations

import inspect
import json

import pytest

from relevo import errors
from relevo.web import errors as errors_module

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RelevoError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_every_error_has_a_status(kind: type[errors.RelevoError]) -> None:
    """Each error answers 4xx or 5xx, and whatever is the caller's input's fault never answers 5xx."""
    status = errors_module.status_of(kind)
    assert 400 <= status < 600
    if issubclass(kind, errors.InvalidInputError):
        assert status < 500


def test_no_row_of_the_map_is_left_over() -> None:
    """The map names only codes that exist."""
    assert errors_module.STATUS.keys() <= {kind.code for kind in KINDS}


def test_a_child_answers_as_its_nearest_mapped_parent() -> None:
    """A new error class gets its parent's status without a new row; a row of its own wins."""
    assert errors_module.status_of(errors.UnknownCategoryError) == 422
    assert errors_module.status_of(errors.BodyTooLargeError) == 413
    assert errors_module.status_of(errors.UnsupportedImageError) == 415
    assert errors_module.status_of(errors.BrokenImageError) == 422


def test_the_body_is_the_promised_one() -> None:
    """Body and type are exactly what clients compare: error, code, field, request_id as application/json without charset."""
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
    """An error that belongs to no field has no `field` key."""
    assert "field" not in json.loads(errors_module.error_response(errors.BrokenImageError(), "en", "r")[2])


@pytest.mark.parametrize(
    "error", [errors.OverloadedError(limit=5), errors.ConcurrencyLimitError(limit=2), errors.DatabaseUnavailableError()]
)
def test_come_back_later_says_when(error: errors.RelevoError) -> None:
    """429 and 503 carry Retry-After in whole seconds, not the same for everyone."""
    waits = {int(dict(errors_module.error_response(error, "en", f"r{number}")[1])[b"retry-after"]) for number in range(50)}
    assert waits == {1, 2, 3}


def test_method_not_allowed_names_the_methods() -> None:
    """405 carries Allow."""
    status, headers, _ = errors_module.error_response(errors.MethodNotAllowedError(allowed="GET, PUT"), "en", "r")
    assert (status, dict(headers)[b"allow"]) == (405, b"GET, PUT")


def test_what_is_wrong_with_the_servers_files_is_for_its_log(caplog: pytest.LogCaptureFixture) -> None:
    """A caller learns that the server must be mended, in either language, and not where its files lie; the log says it whole."""
    error = errors.ConfigError(reason="the key file /srv/home/keys/audit.key cannot be read")
    told = [json.loads(errors_module.error_response(error, language, "r")[2]) for language in ("en", "es")]
    assert [one["code"] for one in told] == ["config_refused"] * 2
    assert told[0]["error"] == "The server's own files or settings cannot be used; its log says why."
    assert told[1]["error"].startswith("Los archivos")
    assert "/srv/home/keys/audit.key" in caplog.text
