r"""Repairs standard input, output and error before a command runs: closed streams, missing characters, failing writes.

closed (`>&-`) ─► opened on /dev/null at its own descriptor, so that no other file gets that descriptor
characters missing in the encoding ─► escaped as in JSON: "caf\u00e9"
write error on standard output, as on a full disk ─► StdoutError, which is not reported as an internal error
"""

from __future__ import annotations

import codecs
import io
import os
import sys

_NAMES = ("stdin", "stdout", "stderr")
_ESCAPE = "relevo.spelt"


class StdoutError(OSError):
    """A write to standard output failed; the text is the reason."""


class _Stdout(io.TextIOWrapper):
    """Standard output that raises StdoutError on write errors. Lifetime: the process."""

    def write(self, text: str) -> int:
        """Raises StdoutError, BrokenPipeError."""
        try:
            return super().write(text)
        except OSError as cause:
            raise _stdout_error(cause) from cause

    def flush(self) -> None:
        """Raises StdoutError, BrokenPipeError."""
        try:
            super().flush()
        except OSError as cause:
            raise _stdout_error(cause) from cause


def repair_streams() -> None:
    """Opens closed streams, and escapes characters that the encoding lacks."""
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            setattr(sys, name, _open_null(number))
    codecs.register_error(_ESCAPE, _escape)
    if type(sys.stdout) is io.TextIOWrapper:
        lines, encoding = sys.stdout.line_buffering, sys.stdout.encoding
        sys.stdout = _Stdout(sys.stdout.detach(), encoding=encoding, errors=_ESCAPE, line_buffering=lines)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_ESCAPE)


def discard_stdout() -> None:
    """Redirects standard output to /dev/null, so that its buffer does not fail again when Python closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stdout_error(cause: OSError) -> OSError:
    # A reader that closes the pipe (head, less) is no error.
    return cause if isinstance(cause, BrokenPipeError) else StdoutError(cause.errno, cause.strerror)


def _open_null(number: int) -> io.TextIOWrapper:
    # The kernel assigns the lowest free descriptor, which is this stream's own: lower ones are open by now.
    descriptor = os.open(os.devnull, os.O_RDWR)
    return os.fdopen(descriptor, "w" if number else "r", encoding="utf-8")


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end
