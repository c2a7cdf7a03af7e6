"""Context managers that run a real console process and open its pages in a real browser.

    with run_console(server.url, folder) as console, open_page(browser, console) as page: …

relevo console --json --port 0 ─► JSON document with its URL ─► end of the block ─► SIGTERM, exit code 0
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from relevo.server.stores import open_store
from relevo.store.auth.password_hash import hash_password

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from relevo.config import Settings
    from relevo.domain.access import Role

_START_S = 60.0
_END_S = 30.0
#: Password of every user of `add_users`.
SIGNED_PASSWORD = "correct horse battery"  # noqa: S105 - of a test
#: Time limit for one page run on a shared machine.
_WAIT_MS = 20_000


@dataclass(frozen=True, kw_only=True)
class Console:
    """A running console. Lifetime: its process."""

    url: str
    pid: int


@contextmanager
def run_console(server: str, folder: Path, *flags: str) -> Iterator[Console]:
    """Runs a console for this server as a process with the working directory `folder`. Asserts exit code 0."""
    with _command(folder, "console", "--port", "0", "--url", server, *flags) as (output, pid):
        yield Console(url=output["url"], pid=pid)


@contextmanager
def serve_with_console(folder: Path, *flags: str) -> Iterator[Console]:
    """Runs `relevo serve --console` in `folder` and returns its console. Asserts exit code 0."""
    ports = ["--port", "0", "--console-port", "0", "--workers", "1"]
    with _command(folder, "serve", "--console", *ports, *flags) as (output, pid):
        yield Console(url=output["console"], pid=pid)


@contextmanager
def _command(folder: Path, *arguments: str) -> Iterator[tuple[Any, int]]:
    """Runs a relevo command in `folder` until the end of the block; yields its JSON output and its pid."""
    process = subprocess.Popen(
        [sys.executable, "-m", "relevo", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        text=True,
    )
    try:
        yield _read_output(process), process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        code = process.wait(_END_S)
        assert process.stdout is not None
        process.stdout.close()
    assert code == 0, f"relevo {arguments[0]} ended with {code}"


def _read_output(process: subprocess.Popen[str]) -> Any:
    """The JSON document that the command prints when it is ready."""
    assert process.stdout is not None
    timeout = threading.Timer(_START_S, process.kill)
    timeout.start()
    text = ""
    for line in process.stdout:
        text += line
        with contextlib.suppress(json.JSONDecodeError):
            timeout.cancel()
            return json.loads(text)
    timeout.cancel()
    raise AssertionError(f"no JSON document in the output {text!r}")


def add_users(settings: Settings, **roles: Role) -> None:
    """Adds users with these names and roles; all have SIGNED_PASSWORD."""
    store = open_store(settings)
    password_hash = hash_password(SIGNED_PASSWORD)
    for name, role in roles.items():
        store.users.add_user(name, role, password_hash=password_hash, at=datetime.now(UTC))
    store.engine.dispose()


@contextmanager
def open_page_as(browser: Browser, console: Console, name: str, path: str = "/", **options: Any) -> Iterator[Page]:
    """Opens a page of the console as a logged-in user. Asserts that nothing was loaded from another host."""
    form = {"name": name, "password": SIGNED_PASSWORD}
    token = httpx.post(f"{console.url}/sign-in", data=form, headers={"Origin": console.url}, timeout=30).cookies["relevo_console"]
    cookie = {"name": "relevo_console", "value": token, "domain": "127.0.0.1", "path": "/", "expires": -1}
    state = {"cookies": [cookie | {"httpOnly": True, "secure": False, "sameSite": "Lax"}], "origins": []}
    with open_page(browser, console, path, storage_state=state, **options) as page:
        page.wait_for_selector("h1")
        wait_until_idle(page)
        yield page


@contextmanager
def open_page(browser: Browser, console: Console, path: str = "/", **options: Any) -> Iterator[Page]:
    """Opens a page of the console in a new browser context. Asserts that nothing was loaded from another host."""
    context = browser.new_context(**{"locale": "en-GB", **options})
    page = context.new_page()
    page.set_default_timeout(_WAIT_MS)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None)
    page.goto(console.url + path)
    yield page
    context.close()
    assert hosts == {console.url.removeprefix("http://")}


def wait_until_idle(page: Page) -> None:
    """Waits until the current page run has ended."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
