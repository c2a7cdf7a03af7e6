"""Logging: one event, one line; few lines by default; no input of a caller."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from relevo.errors import InvalidJsonError
from relevo.telemetry import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger("relevo.test")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, ours = list(root.handlers), root.level, logging.getLogger("relevo").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("relevo").setLevel(ours)


def lines(level: str, form: str) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level, form, stream)
    return stream


def test_quiet_by_default() -> None:
    """By default only warnings and errors are shown."""
    stream = io.StringIO()
    configure_logging(stream=stream)
    LOG.info("started")
    LOG.warning("database is away", extra={"action": "ship.wait"})
    assert stream.getvalue().count("\n") == 1
    assert "WARNING relevo.test database is away action=ship.wait" in stream.getvalue()


def test_json_has_the_fields_of_the_event() -> None:
    """Each key of `extra` becomes a field of the object, numbers as numbers."""
    stream = lines("info", "json")
    LOG.info("shipped", extra={"action": "ship.done", "rows": 3})
    event = json.loads(stream.getvalue())
    assert (event["level"], event["logger"], event["message"]) == ("info", "relevo.test", "shipped")
    assert (event["action"], event["rows"]) == ("ship.done", 3)
    assert event["at"].endswith("Z")


@pytest.mark.parametrize("form", ["text", "json"])
def test_one_event_is_one_line(form: str) -> None:
    """A line break in a message or a field cannot forge an event."""
    stream = lines("info", form)
    LOG.info("first\n2026-01-01 CRITICAL forged", extra={"name_of": "a\r\nb"})
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_tells_where_but_not_what(form: str) -> None:
    """Of an exception its type, its code and its stack are logged; its message may quote a caller's input."""
    stream = lines("info", form)
    try:
        float("my secret")
    except ValueError:
        LOG.exception("a model failed")
    LOG.error("refused", exc_info=InvalidJsonError(reason="at byte 3"))
    line = stream.getvalue()
    assert "my secret" not in line
    assert "ValueError" in line
    assert "test_log_lines.py" in line
    assert "bad_json" in line


def test_other_libraries_stay_quiet() -> None:
    """Debug logging of Relevo does not include debug lines of other libraries."""
    stream = lines("debug", "text")
    logging.getLogger("somebody.else").info("chatter")
    LOG.debug("ours")
    assert "chatter" not in stream.getvalue()
    assert "ours" in stream.getvalue()


def test_configuring_again_replaces() -> None:
    """A second call does not duplicate the lines."""
    first = lines("info", "text")
    second = lines("info", "text")
    LOG.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_value_cannot_steer_the_terminal(form: str) -> None:
    """Escape sequences, C1 controls and bidirectional controls are escaped in both formats."""
    stream = lines("info", form)
    LOG.info("name %s", "\x1b[2J\x9b\u202e", extra={"path": "\x1b]0;x\x07\x9d"})
    assert not set(stream.getvalue()) & set("\x1b\x9b\u202e\x07\x9d")
    assert "\\u001b[2J" in stream.getvalue()
