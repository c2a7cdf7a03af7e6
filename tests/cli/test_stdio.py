"""A command with closed, full or ASCII-only standard streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = "from relevo.cli import main; main()"
_FULL = Path("/dev/full")


def shell(line: str, *arguments: str, home: Path, typed: bytes | None = None, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Runs `relevo` in a shell; line: redirections."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RELEVO_", "LC_", "PYTHONIO"))}
    return subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {line}', sys.executable, "-c", _PROGRAM, *arguments],
        cwd=home,
        env=inherited | {"RELEVO_LANGUAGE": "en", **environ},
        capture_output=True,
        check=False,
        input=typed,
        timeout=60,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_stops_nothing(tmp_path: Path, closed: str) -> None:
    """A command works with closed streams."""
    done = shell(closed, "new", "shop", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "shop" / "relevo.toml").exists()


@pytest.mark.skipif(not _FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [("--help",), ("doctor",), ("doctor", "--json")])
def test_an_output_that_does_not_fit_is_told(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A full disk behind standard output is reported once, and is no internal error."""
    done = shell(f"> {_FULL}", *arguments, home=tmp_path)
    output = "error: '/dev/stdout' cannot be written: No space left on device. (no_input)\n"
    assert (done.returncode, done.stderr.decode()) == (1, output)


def test_letters_that_a_terminal_lacks_are_spelt_out(tmp_path: Path) -> None:
    """With ASCII output, text is escaped and JSON stays valid."""
    output = shell("", "doctor", home=tmp_path, RELEVO_LANGUAGE="es", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert output.stderr == b""
    assert b"nada sale de esta m\\u00e1quina" in output.stdout
    home = str(tmp_path / "casa-ñ-😀")
    result = shell("", "doctor", "--json", "--home", home, home=tmp_path, PYTHONIOENCODING="ascii")
    assert result.stdout.isascii()
    assert home in json.dumps(json.loads(result.stdout), ensure_ascii=False)


@pytest.mark.parametrize("encoding", ["utf-8:strict", "utf-8:surrogateescape"])
def test_bytes_that_are_no_letters_are_refused(tmp_path: Path, encoding: str) -> None:
    """Invalid UTF-8 on standard input, in records or passwords, is a proper error."""
    typed = b"\xff\xfe and something longer\n"
    asked = shell("", "predict", "-", home=tmp_path, typed=typed, PYTHONIOENCODING=encoding)
    assert (asked.returncode, b"(bad_json)" in asked.stderr) == (1, True), asked.stderr
    created = shell("", "user", "add", "ana", "--role", "admin", home=tmp_path, typed=typed, PYTHONIOENCODING=encoding)
    assert (created.returncode, b"it is not UTF-8" in created.stderr) == (1, True), created.stderr


def test_a_bottomless_record_is_refused(tmp_path: Path) -> None:
    """JSON that is nested too deeply is a proper error."""
    done = shell("", "predict", "-", home=tmp_path, typed=b"[" * 200_000)
    assert (done.returncode, b"nested too deeply" in done.stderr) == (1, True), done.stderr
