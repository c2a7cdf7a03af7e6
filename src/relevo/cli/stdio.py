r"""The three streams of a command, made whole before it begins: none is closed, none is short of letters, and a full one is told.

closed (`>&-`) ─► a stream that leads nowhere, at its own number, so that no file of ours is ever opened there
letters that its encoding lacks ─► spelt out as JSON does: "caf\u00e9"
standard output that takes no more, as on a full disk ─► StdoutError, which is not taken for a fault of Relevo's
"""

from __future__ import annotations

import codecs
import io
import os
import sys

_NAMES = ("stdin", "stdout", "stderr")
_SPELT = "relevo.spelt"


class StdoutError(OSError):
    """Standard output took no more of what a command shows; its text says why."""


class _Shown(io.TextIOWrapper):
    """Standard output that says of itself that it is full; lives as long as the process."""

    def write(self, text: str) -> int:
        """Raises StdoutError, BrokenPipeError."""
        try:
            return super().write(text)
        except OSError as cause:
            raise _not_shown(cause) from cause

    def flush(self) -> None:
        """Raises StdoutError, BrokenPipeError."""
        try:
            super().flush()
        except OSError as cause:
            raise _not_shown(cause) from cause


def repair_streams() -> None:
    """Open what is closed, and let no letter stop a command."""
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(number))
    codecs.register_error(_SPELT, _spelt)
    if type(sys.stdout) is io.TextIOWrapper:
        lines, encoding = sys.stdout.line_buffering, sys.stdout.encoding
        sys.stdout = _Shown(sys.stdout.detach(), encoding=encoding, errors=_SPELT, line_buffering=lines)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_SPELT)


def discard_stdout() -> None:
    """Lead standard output nowhere, so that what waits in it does not fail once more when Python closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _not_shown(cause: OSError) -> OSError:
    # A reader (head, less) that has gone has seen enough; that is no failure.
    return cause if isinstance(cause, BrokenPipeError) else StdoutError(cause.errno, cause.strerror)


def _nowhere(number: int) -> io.TextIOWrapper:
    # The lowest free number is taken, which is this stream's own: those before it are open by now.
    descriptor = os.open(os.devnull, os.O_RDWR)
    return os.fdopen(descriptor, "w" if number else "r", encoding="utf-8")


def _spelt(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end
