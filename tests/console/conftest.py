"""One server and one console for all tests of the console, since each takes seconds to start; a browser for each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.browser import launched
from tests.support.console import Console, add_users, console_over
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
    """A server without users that answers for digits (pictures) and churn (records)."""
    with running(tmp_path_factory.mktemp("console-server"), digits_package, churn_package) as server:
        yield server


@pytest.fixture(scope="session")
def console(console_server: relevo.server.RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The console of that server."""
    pytest.importorskip("streamlit", reason="the extra 'console' is not installed")
    with console_over(console_server.url, tmp_path_factory.mktemp("console")) as started:
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser; gone with the file's last test, for while it is there no other event loop may run in this process."""
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def signed_server(
    tmp_path_factory: pytest.TempPathFactory, digits_package: Package, digits_package_2: Package, churn_package: Package
) -> Iterator[relevo.server.RunningServer]:
    """A server with users, two versions of digits, the second of them the challenger, and churn, which one test asks."""
    settings = settings_of(tmp_path_factory.mktemp("signed-server"))
    put(settings, digits_package)
    put(settings, digits_package_2, alias="challenger")
    put(settings, churn_package)
    add_users(settings, ana=Role.ADMIN, bob=Role.VIEWER, leo=Role.LABELER)
    with started(settings) as server:
        yield server


@pytest.fixture(scope="session")
def signed_console(signed_server: relevo.server.RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The console of that server; SIGNED_PASSWORD lets its users in."""
    pytest.importorskip("streamlit", reason="the extra 'console' is not installed")
    with console_over(signed_server.url, tmp_path_factory.mktemp("signed-console")) as begun:
        yield begun
