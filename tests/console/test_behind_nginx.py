"""The console behind nginx, with the configuration of the how-to page: login over https with a secure cookie."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.browser import IN_A_BROWSER
from tests.support.console import SIGNED_PASSWORD, Console, run_console, wait_until_idle

pytest.importorskip("streamlit", reason="the extra 'console' is not installed")
pytest.importorskip("cryptography", reason="the library that makes certificates is not installed")

from tests.support.tls import pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from relevo import server

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
HOW_TO = Path(__file__).parent.parent.parent / "docs" / "how-to" / "behind-nginx.md"

pytestmark = [*IN_A_BROWSER, pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt install nginx-light)")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nginx_config(port: int, console: str, folder: Path) -> str:
    """The configuration of the how-to page, with port, names and files of the test."""
    config: str = next(
        block for block in re.findall(r"```nginx\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL) if ":8501" in block
    )
    cert, key = pair(folder, "127.0.0.1")
    for example, replacement in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("http://127.0.0.1:8501", console),
        ("/etc/ssl/console.example.pem", str(cert)),
        ("/etc/ssl/console.example.key", str(key)),
        ("server_name console.example", "server_name 127.0.0.1"),
    ):
        assert example in config
        config = config.replace(example, replacement)
    return config


@contextmanager
def run_nginx(console: Console, port: int, folder: Path) -> Iterator[None]:
    """Runs nginx in front of the console as the current user, until the end of the block."""
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config_file = folder / "nginx.conf"
    config_file.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{nginx_config(port, console.url, folder)} }}\n",
        encoding="utf-8",
    )
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-p", str(folder), "-e", "stderr", "-c", str(config_file)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "nginx did not start"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_the_cookie_is_secure_behind_a_proxy_that_encrypts(
    chromium: Browser, signed_server: server.RunningServer, tmp_path: Path
) -> None:
    """With console_public_url the cookie is Secure and __Host-, WebSockets work, and the plain cookie is rejected."""
    port = free_port()
    flags = ("--console-public-url", f"https://127.0.0.1:{port}", "--trusted-proxies", "127.0.0.1")
    with run_console(signed_server.url, tmp_path, *flags) as console, run_nginx(console, port, tmp_path):
        context = chromium.new_context(locale="en-GB", ignore_https_errors=True)
        page = context.new_page()
        page.set_default_timeout(40_000)
        page.goto(f"https://127.0.0.1:{port}/models")
        page.fill("input[name=name]", "ana")
        page.fill("input[name=password]", SIGNED_PASSWORD)
        page.press("input[name=password]", "Enter")
        page.wait_for_selector("h1:has-text('Models')")
        wait_until_idle(page)
        cookies = {cookie["name"]: cookie for cookie in context.cookies()}
        assert "relevo_console" not in cookies
        secure = cookies["__Host-relevo_console"]
        assert (secure["secure"], secure["httpOnly"], secure["sameSite"], secure["path"]) == (True, True, "Lax", "/")
        context.clear_cookies()
        context.add_cookies([{"name": "relevo_console", "value": secure["value"], "url": f"https://127.0.0.1:{port}"}])
        page.goto(f"https://127.0.0.1:{port}/models")
        page.wait_for_selector("input[name=password]")
        context.close()
