"""Log lines: one event, one line, as text for people or as JSON for machines.

    2026-01-02T03:04:05.678Z WARNING relevo.recording.shipper database is away action=ship.wait files=3
    {"at": "2026-01-02T03:04:05.678Z", "level": "warning", "logger": "relevo.recording.shipper", "message": "…", "action": "wait"}

What is passed as `extra` becomes a field. Of an exception only its kind, its code and the places it went through are told: the
message of a stranger's exception may quote what the caller sent.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, TextIO

from relevo.util.terminal import escape_control

if TYPE_CHECKING:
    from types import TracebackType

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName", "color_message"}
#: How many places of a trace are told, the innermost ones.
_PLACES = 12


def configure_logging(level: str = "warning", form: str = "text", stream: TextIO | None = None) -> None:
    """Send the process's log to one stream (standard error unless told otherwise).

    level: least severe line shown of our own loggers; other libraries' are shown from warning on. form: text | json.
    Called once by each entry point and never on import; a second call replaces the first.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, _Line):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, _number(level)))
    logging.getLogger("relevo").setLevel(_number(level))
    # A line of Python's own would be none of a machine's log.
    logging.captureWarnings(capture=True)
    # It tells bytes of a broken form; the caller is told that it is broken.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


class _Line(logging.Formatter):
    """What both forms have in common: the fields of an event, in order."""

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Extras of the call, and where an exception came from."""
        found = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            found["error"] = type(error).__name__
            found |= {"code": code} if (code := getattr(error, "code", None)) else {}
            found["trace"] = _places(record.exc_info[2])
        return found

    def at(self, record: logging.LogRecord) -> str:
        """Time of the event, UTC."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Text(_Line):
    """`time LEVEL logger message key=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        told = " ".join(f"{key}={value}" for key, value in self.fields(record).items())
        line = f"{self.at(record)} {record.levelname} {record.name} {record.getMessage()} {told}".rstrip()
        # A line break in a value would let it pose as an event of its own, an escape would write over those before.
        return escape_control(line.replace("\\", "\\\\"))


class _Json(_Line):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, since JSON escapes line breaks."""
        known = {"at": self.at(record), "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        return escape_control(json.dumps(known | self.fields(record), default=str, ensure_ascii=False))


def _places(trace: TracebackType | None) -> str:
    frames = extract_tb(trace)[-_PLACES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
