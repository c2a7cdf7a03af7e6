"""The messages of `relevo serve` at its start."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Timer
from typing import IO, TYPE_CHECKING, Any

import pytest
from tests.support.server import put, settings_of

import relevo.server
from relevo.config import Settings
from relevo.domain.access import Role
from relevo.store.auth.password_hash import hash_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.package.package import Package

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path, digits_package: Package) -> Path:
    """Three models: one that is served, one whose package is missing, one without champion."""
    settings = settings_of(tmp_path)
    put(settings, digits_package)
    store = relevo.server.open_store(settings)
    for name in ("bent", "idle"):
        store.registry.add(model=name, digest="ab" * 32, summary={}, author="test", at=AT)
    store.registry.move_alias("bent", "champion", 1, author="test", reason="a test wants it", at=AT)
    store.engine.dispose()
    return settings.home


@contextmanager
def serving(home: Path, *flags: str) -> Iterator[IO[str]]:
    """A server started as by a shell, with its output; stopped at the end."""
    command = [sys.executable, "-m", "relevo", "serve", "--port", "0", "--workers", "1", "--home", str(home), *flags]
    server = subprocess.Popen(command, cwd=home.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    # One that says less than is read ends after this, and with it the reading.
    patience = Timer(60, server.terminate)
    patience.start()
    try:
        yield server.stdout
    finally:
        patience.cancel()
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)


def said_at_the_start(home: Path, count: int) -> list[str]:
    """The first lines of a server."""
    with serving(home) as printed:
        return [printed.readline().rstrip() for _ in range(count)]


def test_other_commands_are_told_of_flags_they_do_not_see(home: Path, relevo_run: Callable[..., Any]) -> None:
    """Doctor and health report the actual address of this home's server and its encryption, whatever the settings are."""
    pytest.importorskip("cryptography", reason="encryption is an extra")
    folder = home.parent
    (folder / "relevo.toml").write_text(f'[server]\nhome = "{home}"\nport = 9\n', encoding="utf-8")
    with serving(home, "--tls", "auto", "--encrypt-inputs", "on") as printed:
        address = printed.readline().split()[3]
        assert address.startswith("https://")
        result = {one["subject"]: one for one in json.loads(relevo_run("doctor", "--json", cwd=folder).stdout)}
        health = relevo_run("health", cwd=folder)
        told = json.loads(relevo_run("health", "--ready", "--json", cwd=folder).stdout)
    assert (result["port"]["verdict"], result["sealing"]["verdict"]) == ("warn", "warn")
    assert result["port"]["message"].endswith(f"this home's server answers at {address}")
    assert "were sealed" in result["sealing"]["message"]
    assert health.returncode == 1
    assert f"answers at {address}" in health.stdout
    assert told == {"url": "http://127.0.0.1:9", "ready": False, "elsewhere": address}


def test_its_models_are_told_with_users_too(home: Path) -> None:
    """The served versions, and reasons for others, are printed without authentication."""
    expected = ["  bent is not served: ", "  digits 1", "  idle is not served: no version of it is in charge"]
    openly = said_at_the_start(home, 4)[1:]
    assert all(line.startswith(start) for line, start in zip(openly, expected, strict=True)), openly
    assert len(openly[0]) > len(expected[0])
    people = relevo.server.open_store(Settings(home=home)).users
    people.add_user("ana", Role.ADMIN, password_hash=hash_password("correct horse battery"), at=AT)
    assert said_at_the_start(home, 4)[1:] == openly


def test_the_own_certificate_is_told_in_the_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line about path and expiry of the certificate is translated to Spanish."""
    pytest.importorskip("cryptography", reason="encryption is an extra")
    monkeypatch.setenv("RELEVO_LANGUAGE", "es")
    with serving(tmp_path / "home", "--tls", "auto") as printed:
        lines = [printed.readline() for _ in range(2)]
    assert lines[1].startswith(f"  certificado propio {tmp_path / 'home' / 'tls' / 'cert.pem'}, hasta el "), lines
