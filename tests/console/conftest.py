"""Fixtures for tests of the console: one server and one console per test run, because each takes seconds to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.browser import launched
from tests.support.console import Console, add_users, run_console
from tests.support.server import put, running, settings_of, started

from relevo.domain.access import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    import relevo.server
    from relevo.package.package import Package


@pytest.fixture(scope="session")
def console_server(
    tmp_path_factory: pytest.TempPathFactory, digits_package: Package, churn_package: Package
) -> Iterator[relevo.server.RunningServer]:
    """A server without users that serves digits (images) and churn (records)."""
    with running(tmp_path_factory.mktemp("console-server"), digits_package, churn_package) as server:
        yield server


@pytest.fixture(scope="session")
def console(console_server: relevo.server.RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The console of that server."""
    pytest.importorskip("streamlit", reason="the extra 'console' is not installed")
    with run_console(console_server.url, tmp_path_factory.mktemp("console")) as started_console:
        yield started_console


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser per file: while it runs, no other event loop can run in this process."""
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def signed_server(
    tmp_path_factory: pytest.TempPathFactory, digits_package: Package, digits_package_2: Package, churn_package: Package
) -> Iterator[relevo.server.RunningServer]:
    """A server with users, two versions of digits (the second is the challenger), and churn, which only one test uses."""
    settings = settings_of(tmp_path_factory.mktemp("signed-server"))
    put(settings, digits_package)
    put(settings, digits_package_2, alias="challenger")
    put(settings, churn_package)
    add_users(settings, ana=Role.ADMIN, bob=Role.VIEWER, leo=Role.LABELER)
    with started(settings) as server:
        yield server


@pytest.fixture(scope="session")
def signed_console(signed_server: relevo.server.RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The console of that server; the password of its users is SIGNED_PASSWORD."""
    pytest.importorskip("streamlit", reason="the extra 'console' is not installed")
    with run_console(signed_server.url, tmp_path_factory.mktemp("signed-console")) as started_console:
        yield started_console
