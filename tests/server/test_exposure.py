"""An exposed server: rejected without users and encryption, served with both, served with a warning with --insecure."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.server import settings_of, started

import relevo.server
from relevo.domain.access import Role, Scope
from relevo.errors import ConfigError
from relevo.server.sync import refresh_access
from relevo.web.auth.guard import Authenticator

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.config import Settings

#: An address of this machine that no rule of ours knows for one, so the server takes it for one that others reach.
OUTWARD = "127.1"


def with_admin(home: Path) -> str:
    """Creates the first user and an API key."""
    store = relevo.server.open_store(settings_of(home))
    user = store.users.add_user("boss", Role.ADMIN, at=relevo.server.utc_now())
    key = store.users.add_key(user, "test", [Scope.READ], at=relevo.server.utc_now())
    store.engine.dispose()
    return key


def start(settings: Settings) -> None:
    """Starts a server that must be rejected."""
    server = relevo.server.start_server(settings)
    try:
        server.wait_ready(30)
    finally:
        server.stop()


def served(folder: Path, *flags: str) -> tuple[subprocess.Popen[str], str]:
    """`relevo serve` with these flags, and its URL once it is ready."""
    command = [sys.executable, "-m", "relevo", "serve", "--port", "0", "--workers", "1", "--json", *flags]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    lines = [server.stdout.readline()]
    while lines[-1] and lines[-1] != "}\n":
        lines.append(server.stdout.readline())
    return server, json.loads("".join(lines))["url"]


def ended(server: subprocess.Popen[str]) -> str:
    """Its standard error until it ended."""
    server.send_signal(signal.SIGINT)
    return server.communicate(timeout=30)[1]


def test_users_alone_and_encryption_alone_are_refused(tmp_path: Path) -> None:
    """Both serve() and the command reject it before anything is created."""
    with pytest.raises(ConfigError, match="relevo user add"):
        start(settings_of(tmp_path, host=OUTWARD, tls="auto"))
    assert not (tmp_path / "home").exists()
    with_admin(tmp_path)
    with pytest.raises(ConfigError, match="nothing would be encrypted"):
        start(settings_of(tmp_path, host=OUTWARD))


def test_with_both_it_is_served_to_who_says_who_they_are(tmp_path: Path) -> None:
    """No flag and no warning; every route, /metrics included, needs a key or a session."""
    pytest.importorskip("cryptography", reason="the library that makes certificates is not installed")
    key = with_admin(tmp_path)
    with started(settings_of(tmp_path, host=OUTWARD, tls="auto")) as server:
        context = ssl.create_default_context(cafile=tmp_path / "home" / "tls" / "cert.pem")
        context.check_hostname = False
        with httpx.Client(base_url=server.url.replace(OUTWARD, "127.0.0.1"), verify=context, trust_env=False) as http:
            for path in ("/models", "/metrics", "/predictions"):
                assert http.get(path).status_code == 401
                assert http.get(path, headers={"authorization": f"Bearer {key}"}).status_code == 200
            output = http.get("/me", headers={"authorization": f"Bearer {key}"}).json()
            assert (output["name"], output["insecure"]) == ("boss", [])


def test_a_dare_is_warned_of_and_shown(tmp_path: Path) -> None:
    """--insecure: a warning on standard error at each start, and in the response about the current user."""
    server, url = served(tmp_path, "--host", OUTWARD, "--insecure")
    output = httpx.get(url.replace(OUTWARD, "127.0.0.1") + "/me").json()
    assert (output["auth_method"], output["insecure"]) == ("open", ["encryption", "users"])
    printed = ended(server)
    assert "warning: other machines can reach this server, nothing is encrypted" in printed


def test_a_proxy_is_the_only_way_in(tmp_path: Path) -> None:
    """trusted_proxies: with users, plain http from the proxy is accepted; its headers give client address and scheme."""
    key = with_admin(tmp_path)
    with started(settings_of(tmp_path, trusted_proxies="127.0.0.1")) as server, httpx.Client(base_url=server.url) as proxy:
        assert proxy.get("/models").status_code == 401
        page = proxy.get("/login", headers={"x-forwarded-proto": "https", "accept": "text/html"})
        assert page.headers["set-cookie"].startswith("__Host-"), "the cookie is for https alone, as the browser came"
        assert proxy.get("/me", headers={"authorization": f"Bearer {key}"}).json()["insecure"] == []


def test_a_store_without_users_opens_nothing_outward(tmp_path: Path) -> None:
    """An empty database that replaces the right one denies all access if the server is exposed, and allows it otherwise."""
    store = relevo.server.open_store(settings_of(tmp_path))
    for openly in (True, False):
        authenticator = Authenticator()
        refresh_access(settings_of(tmp_path), store, authenticator, allow_anonymous=openly)
        assert authenticator.access.no_users is openly
    store.engine.dispose()


def test_told_by_program(tmp_path: Path) -> None:
    """`relevo serve` prints one sentence that says what to do, exit code 1."""
    done: Any = subprocess.run(
        [sys.executable, "-m", "relevo", "serve", "--host", "192.0.2.1", "--port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "--tls auto" in done.stderr
    assert "relevo user add" in done.stderr
    assert not (tmp_path / ".relevo").exists()
