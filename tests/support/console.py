"""A real server, a real console and a real browser, for as long as a `with` block.

    with console_over(server.url) as console: page.goto(console.url)

relevo console --json --port 0 ─► one document of JSON: its URL ─► block ends ─► SIGTERM, exit code 0
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
#: Of every user that `add_users` makes.
SIGNED_PASSWORD = "correct horse battery"  # noqa: S105 - of a test
#: A run of a page on a shared machine.
_WAIT_MS = 20_000


@dataclass(frozen=True, kw_only=True)
class Console:
    """A console that answers; lives as long as its process."""

    url: str
    pid: int


@contextmanager
def console_over(server: str, folder: Path, *flags: str) -> Iterator[Console]:
    """The console of this server, in a process of its own that works in `folder`. It must end in order."""
    with _command(folder, "console", "--port", "0", "--url", server, *flags) as (told, pid):
        yield Console(url=told["url"], pid=pid)


@contextmanager
def served_beside(folder: Path, *flags: str) -> Iterator[Console]:
    """The console that `relevo serve --console` shows, with its server in `folder`. Both must end in order."""
    free = ["--port", "0", "--console-port", "0", "--workers", "1"]
    with _command(folder, "serve", "--console", *free, *flags) as (told, pid):
        yield Console(url=told["console"], pid=pid)


@contextmanager
def _command(folder: Path, *texts: str) -> Iterator[tuple[Any, int]]:
    """What a command of ours tells once it answers, and its pid; it works in `folder` until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "relevo", *texts, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, text=True
    )
    try:
        yield _told(process), process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        code = process.wait(_END_S)
        assert process.stdout is not None
        process.stdout.close()
    assert code == 0, f"relevo {texts[0]} ended with {code}"


def _told(process: subprocess.Popen[str]) -> Any:
    """The document that it writes once it answers."""
    assert process.stdout is not None
    late = threading.Timer(_START_S, process.kill)
    late.start()
    text = ""
    for line in process.stdout:
        text += line
        with contextlib.suppress(json.JSONDecodeError):
            late.cancel()
            return json.loads(text)
    late.cancel()
    raise AssertionError(f"it said nothing but {text!r}")


def add_users(settings: Settings, **roles: Role) -> None:
    """Users of these names and roles, all with one password."""
    store = open_store(settings)
    kept = hash_password(SIGNED_PASSWORD)
    for name, role in roles.items():
        store.people.add_user(name, role, password_hash=kept, at=datetime.now(UTC))
    store.engine.dispose()


@contextmanager
def signed_in(browser: Browser, console: Console, name: str, path: str = "/", **options: Any) -> Iterator[Page]:
    """A page of the console, opened by one of its users. Nothing may come from another host."""
    form = {"name": name, "password": SIGNED_PASSWORD}
    token = httpx.post(f"{console.url}/sign-in", data=form, headers={"Origin": console.url}, timeout=30).cookies["relevo_console"]
    cookie = {"name": "relevo_console", "value": token, "domain": "127.0.0.1", "path": "/", "expires": -1}
    known = {"cookies": [cookie | {"httpOnly": True, "secure": False, "sameSite": "Lax"}], "origins": []}
    with opened(browser, console, path, storage_state=known, **options) as page:
        page.wait_for_selector("h1")
        settled(page)
        yield page


@contextmanager
def opened(browser: Browser, console: Console, path: str = "/", **options: Any) -> Iterator[Page]:
    """A page of the console in a fresh browser context. Nothing may come from another host."""
    context = browser.new_context(**{"locale": "en-GB", **options})
    page = context.new_page()
    page.set_default_timeout(_WAIT_MS)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None)
    page.goto(console.url + path)
    yield page
    context.close()
    assert hosts == {console.url.removeprefix("http://")}


def settled(page: Page) -> None:
    """Wait until the run of the page that is under way has ended."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
