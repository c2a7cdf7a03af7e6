"""Configures logging: one line per event, as text or as JSON.

    2026-01-02T03:04:05.678Z WARNING relevo.recording.shipper database is away action=ship.wait files=3
    {"at": "2026-01-02T03:04:05.678Z", "level": "warning", "logger": "relevo.recording.shipper", "message": "…", "action": "wait"}

Each key of `extra` becomes a field. Of an exception only its type, its code and its stack are logged: the message of a
third-party exception may quote the input of a caller.
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
#: Maximum number of stack frames in a line, the innermost ones.
_MAX_FRAMES = 12


def configure_logging(level: str = "warning", form: str = "text", stream: TextIO | None = None) -> None:
    """Send the log of the process to one stream (default: standard error).

    level: minimum level of Relevo's loggers; those of other libraries are logged from warning on. form: text | json.
    Called once by each entry point and never on import; a second call replaces the first.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    root = logging.getLogger()
    for previous in list(root.handlers):
        if isinstance(previous.formatter, _LineFormatter):
            root.removeHandler(previous)
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, _level_number(level)))
    logging.getLogger("relevo").setLevel(_level_number(level))
    # A warning printed by Python itself would not be in the log's format.
    logging.captureWarnings(capture=True)
    # It logs bytes of a malformed form; the client receives an error anyway.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


def _level_number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


class _LineFormatter(logging.Formatter):
    """Common part of both formats: the fields of an event, in order."""

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """The `extra` of the call, and the type, code and stack of an exception."""
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            fields["error"] = type(error).__name__
            fields |= {"code": code} if (code := getattr(error, "code", None)) else {}
            fields["trace"] = _format_stack(record.exc_info[2])
        return fields

    def at(self, record: logging.LogRecord) -> str:
        """Time of the event, UTC."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _TextFormatter(_LineFormatter):
    """`time LEVEL logger message key=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, even if the message has line breaks."""
        extras = " ".join(f"{key}={value}" for key, value in self.fields(record).items())
        line = f"{self.at(record)} {record.levelname} {record.name} {record.getMessage()} {extras}".rstrip()
        # A line break in a value could forge a log line; an escape sequence could overwrite earlier ones in a terminal.
        return escape_control(line.replace("\\", "\\\\"))


class _JsonFormatter(_LineFormatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, since JSON escapes line breaks."""
        standard = {"at": self.at(record), "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        return escape_control(json.dumps(standard | self.fields(record), default=str, ensure_ascii=False))


def _format_stack(trace: TracebackType | None) -> str:
    frames = extract_tb(trace)[-_MAX_FRAMES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
