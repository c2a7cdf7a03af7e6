"""The commands `relevo console` and `relevo serve --console`."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]


def test_serve_shows_the_console_too_encrypted_alike(tmp_path: Path) -> None:
    """Both use https with the server's certificate; the console reaches the server; one signal stops both."""
    pytest.importorskip("streamlit", reason="the extra 'console' is not installed")
    flags = ["--port", "0", "--console", "--console-port", "0", "--tls", "auto", "--workers", "1", "--json"]
    server = subprocess.Popen([sys.executable, "-m", "relevo", "serve", *flags], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        lines = [server.stdout.readline()]
        while lines[-1] and lines[-1] != "}\n":
            lines.append(server.stdout.readline())
        output = json.loads("".join(lines))
        trusted = ssl.create_default_context(cafile=tmp_path / output["certificate"]["file"])
        trusted.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        with httpx.Client(verify=trusted, timeout=30) as browser:
            assert browser.get(output["url"] + "/health/live").json() == {"live": True}
            # 200 and not the sign-in page: the console asked the server, which has no users yet.
            assert browser.get(output["console"], headers={"Accept": "text/html"}).status_code == 200
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(30)
        server.stdout.close()
    assert code == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(output["console"].replace("https", "http"))


def test_a_console_beyond_this_machine_needs_encryption_or_a_persons_word(tmp_path: Path, relevo_run: Run) -> None:
    """An exposed console needs TLS or --insecure; a certificate without its key is an error."""
    refused = relevo_run("console", "--host", "0.0.0.0", cwd=tmp_path)  # noqa: S104 - refused
    assert refused.returncode == 1
    assert "--tls-cert" in refused.stderr
    assert "--insecure" in refused.stderr
    half = relevo_run("console", "--tls-cert", "cert.pem", cwd=tmp_path)
    assert half.returncode == 1
    assert "--tls-key" in half.stderr


def test_a_taken_port_is_told(tmp_path: Path, relevo_run: Run) -> None:
    """The error names the port and the remedy."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = relevo_run("console", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert done.returncode == 1
    assert "--port" in done.stderr
