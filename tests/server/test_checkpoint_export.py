"""Audit checkpoints are exported to the configured file or server, with protection against SSRF."""

from __future__ import annotations

import ipaddress
import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

import relevo.server
from relevo.config import Settings
from relevo.errors import ConfigError, UnavailableError
from relevo.server.checkpoint_export import Webhook, resolve
from relevo.store.audit.checkpoints import read_checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = "127.0.0.1"
AT = datetime(2026, 3, 1, tzinfo=UTC)


class Taker(ThreadingHTTPServer):
    """An HTTP server that records received requests. Lifetime: one test."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HERE, 0), _Answers)
        self.taken: list[tuple[str, str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://{HERE}:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: Taker

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.taken.append((self.path, self.headers["host"], body))
        if self.path == "/slow":
            self.send_response(200)
            for _ in range(40):
                self.wfile.write(b"x: y\r\n")
                time.sleep(0.1)
            return
        self.send_response(302 if self.path == "/elsewhere" else 200)
        self.send_header("location", f"{self.server.url}/secret")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@contextmanager
def taking() -> Iterator[Taker]:
    with Taker() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def change(settings: Settings, model: str) -> str:
    """Makes one change with a command; returns the latest checkpoint."""
    store = relevo.server.open_store(settings)
    store.registry.add(model=model, digest="ab" * 32, summary={}, author="ana", at=AT)
    link = store.audit_reader.last_entry()
    store.engine.dispose()
    assert link is not None
    return f"{link.sequence}:{link.mac}"


def test_the_settings_say_where(tmp_path: Path) -> None:
    """audit_checkpoint_to: appends a line to a file, or sends a POST; a private server must be in audit_head_allowed."""
    file = tmp_path / "other disk.jsonl"
    head = change(Settings(home=tmp_path / "home", audit_checkpoint_to=str(file)), "digits")
    assert [f"{one.sequence}:{one.mac}" for one in read_checkpoints(file)] == [head]
    with taking() as server:
        output: dict[str, Any] = {"home": tmp_path / "home", "audit_checkpoint_to": f"{server.url}/take"}
        change(Settings(**output), "churn")
        assert server.taken == []
        head = change(Settings(**output, audit_head_allowed="10.1.0.0/16, 127.0.0.0/8"), "cats")
        ((path, _, body),) = server.taken
    assert (path, body["head"]) == ("/take", head)


@pytest.mark.parametrize("url", ["ftp://example.org/x", "https://", "https://a:b@example.org/", "https://example.org:99999/"])
def test_what_is_no_address_is_refused_before_anything_is_done(tmp_path: Path, url: str) -> None:
    """An invalid URL is rejected at the start, with the name of the setting."""
    with pytest.raises(ConfigError, match="audit_checkpoint_to"):
        relevo.server.open_store(Settings(home=tmp_path, audit_checkpoint_to=url))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",  # noqa: S104 - an address that must not be asked
        "[::1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::a00:1]",
        "[2002:a00:1::1]",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00::1]",
        "100.64.0.1",
        "224.0.0.1",
    ],
)
def test_no_address_within_is_asked(host: str) -> None:
    """Private addresses are rejected in every notation."""
    with pytest.raises(UnavailableError, match="private"):
        Webhook(f"https://{host}/").post(b"{}")


def test_a_name_that_means_something_else_a_moment_later_is_not_asked_again() -> None:
    """The host name is resolved once (DNS rebinding); the connection uses that address and the host name."""
    asked: list[str] = []
    with taking() as server:
        port = server.server_address[1]

        def rebinding(host: str, _: int) -> list[Any]:
            asked.append(host)
            return [ipaddress.ip_address(HERE if len(asked) == 1 else "10.9.9.9")]

        Webhook(f"http://heads.example:{port}/take", "127.0.0.0/8", resolver=rebinding).post(b"{}")
        assert (asked, [name for _, name, _ in server.taken]) == (["heads.example"], [f"heads.example:{port}"])
        with pytest.raises(UnavailableError, match="private"):
            Webhook(f"http://heads.example:{port}/take", "127.0.0.0/8", resolver=rebinding).post(b"{}")


def test_no_redirect_is_followed_and_no_slow_answer_waited_for() -> None:
    """A redirect is an error; a slow response times out although each byte arrives in time."""
    with taking() as server:
        with pytest.raises(UnavailableError, match="302"):
            Webhook(f"{server.url}/elsewhere", HERE).post(b"{}")
        begin = time.monotonic()
        with pytest.raises(UnavailableError, match="in time"):
            Webhook(f"{server.url}/slow", HERE, timeout_s=0.5).post(b"{}")
        assert time.monotonic() - begin < 3
        assert [path for path, _, _ in server.taken] == ["/elsewhere", "/slow"]


def test_plain_http_is_for_listed_hosts_alone() -> None:
    """Checkpoints are sent over plain http only to allowed hosts."""
    public = [ipaddress.ip_address("93.184.215.14")]
    with pytest.raises(UnavailableError, match="encrypt"):
        Webhook("http://example.org/", resolver=lambda *_: public).post(b"{}")
    assert resolve("localhost", 80)
