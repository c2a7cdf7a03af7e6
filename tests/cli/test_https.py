"""Commands with a TLS server, and its messages about the certificate."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("cryptography", reason="the library that makes certificates is not installed")

from tests.support.server import running
from tests.support.tls import pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.package.package import Package
    from relevo.server import RunningServer


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def cert(home: Path) -> Path:
    """The path of the self-signed certificate."""
    return home / "home" / "tls" / "cert.pem"


@pytest.fixture(scope="module")
def server(home: Path, digits_package: Package) -> Iterator[RunningServer]:
    with running(home, digits_package, tls="auto", workers=1) as it:
        yield it


def test_commands_take_the_certificate(
    server: RunningServer, cert: Path, tmp_path: Path, digit_pngs: list[bytes], relevo_run: Callable[..., Any]
) -> None:
    """Both `predict` and `history` use --ca or RELEVO_CA; without them the error names the option."""
    (tmp_path / "digit.png").write_bytes(digit_pngs[0])
    asked = relevo_run("predict", "digit.png", "--url", server.url, "--ca", str(cert), "--json", cwd=tmp_path)
    assert json.loads(asked.stdout)[0]["model"] == "digits", asked.stderr
    assert "digits 1" in relevo_run("history", "--url", server.url, cwd=tmp_path, RELEVO_CA=str(cert)).stdout
    refused = relevo_run("history", "--url", server.url, cwd=tmp_path)
    assert refused.returncode == 1
    assert "--ca" in refused.stderr


def test_health_asks_the_server_of_these_settings(
    server: RunningServer, home: Path, relevo_run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """`relevo health` trusts the home's certificate; without a server the exit code is 1."""
    known = {"RELEVO_TLS": "auto", "RELEVO_HOME": str(home / "home"), "RELEVO_HOST": "0.0.0.0"}  # noqa: S104 - not listened on
    port = server.url.rpartition(":")[2]
    for asked in ([], ["--ready"]):
        done = relevo_run("health", *asked, cwd=home, RELEVO_PORT=port, **known)
        assert done.returncode == 0, done.stderr
        assert f"{server.url} is " in done.stdout
    assert relevo_run("health", cwd=home, RELEVO_PORT="9", **known).returncode == 1


def test_an_address_without_encryption_is_told_to_be_wrong(
    server: RunningServer, tmp_path: Path, relevo_run: Callable[..., Any]
) -> None:
    """An http URL of an https server gives an error with the right URL, in both languages."""
    wrong = server.url.replace("https://", "http://")
    output = relevo_run("predict", '{"a": 1}', "--url", wrong, cwd=tmp_path).stderr
    assert "may speak https" in output
    assert "--ca" in output
    assert "hable https" in relevo_run("predict", '{"a": 1}', "--url", wrong, cwd=tmp_path, RELEVO_LANGUAGE="es").stderr


def test_predict_asks_the_server_of_these_settings(
    server: RunningServer, home: Path, tmp_path: Path, digit_pngs: list[bytes], relevo_run: Callable[..., Any]
) -> None:
    """Without --url, port and TLS come from relevo.toml, and the home's certificate is trusted."""
    (tmp_path / "digit.png").write_bytes(digit_pngs[0])
    port = server.url.rpartition(":")[2]
    settings = f'[server]\nhome = "{home / "home"}"\nport = {port}\ntls = "auto"\n'
    (tmp_path / "relevo.toml").write_text(settings, encoding="utf-8")
    asked = relevo_run("predict", "digit.png", "--json", cwd=tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)[0]["model"] == "digits"
    (tmp_path / "relevo.toml").write_text("[server]\nport = 9\n", encoding="utf-8")
    nobody = relevo_run("predict", "digit.png", cwd=tmp_path)
    assert nobody.returncode == 1
    assert "http://127.0.0.1:9 " in nobody.stderr


def test_serve_tells_the_fingerprint(tmp_path: Path) -> None:
    """`relevo serve` prints certificate file, expiry and SHA-256; an exposed server needs --insecure."""
    cert, key = pair(tmp_path)
    output = _served(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key))
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(cert), "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True, check=True
    )
    assert output["url"].startswith("https://")
    assert shown.stdout.strip().endswith(output["certificate"]["sha256"])
    assert output["certificate"]["own"] is False


def _served(folder: Path, *flags: str) -> Any:
    """The output of a server until it is ready; then it is stopped."""
    command = [sys.executable, "-m", "relevo", "serve", "--port", "0", "--workers", "1", "--json", *flags]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    lines = [server.stdout.readline()]
    while lines[-1] and lines[-1] != "}\n":
        lines.append(server.stdout.readline())
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=30)
    return json.loads("".join(lines))


def test_another_address_still_needs_a_persons_word(
    tmp_path: Path, relevo_run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """TLS without users is rejected on an exposed address, with an error that says so and how to fix it."""
    refused = relevo_run("serve", "--host", "0.0.0.0", "--tls", "auto", "--port", "0", cwd=tmp_path)  # noqa: S104 - refused
    assert refused.returncode == 1
    assert "relevo user add" in refused.stderr
    assert "encrypt" not in refused.stderr


def test_doctor_looks_at_the_certificate(tmp_path: Path, relevo_run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """A certificate near its expiry is a warning with the date, an unusable one a failure."""
    from datetime import timedelta

    cert, key = pair(tmp_path, ends=timedelta(days=3))
    given = {"RELEVO_TLS_CERT": str(cert), "RELEVO_TLS_KEY": str(key)}

    def finding(**environ: str) -> Any:
        output = json.loads(relevo_run("doctor", "--port", "0", "--json", cwd=tmp_path, **environ).stdout)
        return next(one for one in output if one["subject"] == "tls")

    assert (finding()["verdict"], finding(RELEVO_TLS="auto")["verdict"]) == ("ok", "ok")
    assert finding(**given)["verdict"] == "warn"
    key.unlink()
    assert finding(**given)["verdict"] == "fail"
