"""A real server in processes of its own, with packages registered, for as long as a `with` block.

    with running(tmp_path, digits_package, workers=2) as server: httpx.post(f"{server.url}/predict", …)

packages ─ write, register ─► home ─ start_server ─► supervisor, workers, loop ─► url ─ block ends ─► SIGTERM, exit code 0
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import relevo.server
from relevo.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.package.package import Package

#: Tests wait for the loop and the watcher, so these hurry; one worker, since the machine is shared.
QUICK: dict[str, Any] = {
    "port": 0,
    "workers": 1,
    "route_poll_ms": 50,
    "flush_interval_ms": 50,
    "shutdown_timeout_s": 3,
}
_START_S = 60.0
_folders = itertools.count()


def settings_of(tmp_path: Path, **settings: Any) -> Settings:
    """Quick settings with a home below `tmp_path`; whatever is named replaces one."""
    return Settings(**{"home": tmp_path / "home", **QUICK, **settings})


def put(settings: Settings, package: Package | Path, *, alias: str = "champion") -> int:
    """Register a package and move the alias to it; gives its version."""
    where = package
    if not isinstance(package, Path):
        where = settings.home.parent / f"package-{next(_folders)}"
        package.write(where)
    assert isinstance(where, Path)
    return relevo.server.register(settings, where, alias=alias, author="test", reason="a test wants it").number


@contextmanager
def running(tmp_path: Path, *packages: Package | Path, **settings: Any) -> Iterator[relevo.server.RunningServer]:
    """A ready server on a free port; its home is `tmp_path / "home"` unless named. It must end in order."""
    told = settings_of(tmp_path, **settings)
    for package in packages:
        put(told, package)
    with started(told) as server:
        yield server


@contextmanager
def started(settings: Settings) -> Iterator[relevo.server.RunningServer]:
    """A ready server with exactly these settings, on whatever their home holds."""
    server = relevo.server.start_server(settings)
    try:
        server.wait_ready(_START_S)
        yield server
    finally:
        code = server.stop()
    assert code == 0, f"the server ended with {code}"
