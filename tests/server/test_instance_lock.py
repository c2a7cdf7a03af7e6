"""A home has one server at a time; the next one can start as soon as it has ended, also after kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.server import settings_of, started

import relevo.server
from relevo.errors import ConfigError
from relevo.server.instance_lock import LOCK_FILE, hold_instance_lock, other_address

if TYPE_CHECKING:
    from pathlib import Path

_HOLD = """
import sys, time
from pathlib import Path
from relevo.server.instance_lock import hold_instance_lock
with hold_instance_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

_LOOK = """
import fcntl, sys, time
with open(sys.argv[1], "w+") as file:
    fcntl.lockf(file, fcntl.LOCK_SH)
    print("looks", flush=True)
    time.sleep(0.02)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock of this home."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_held_home_is_refused_until_its_holder_is_gone(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The error names the process; after kill -9 the lock is free."""
    with pytest.raises(ConfigError, match=f"process {holder.pid}.*--home"), hold_instance_lock(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with hold_instance_lock(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_lock_is_refused(tmp_path: Path, kind: str) -> None:
    """A symbolic link is not followed, so its target is not truncated; the error names the file."""
    place, elsewhere = tmp_path / LOCK_FILE, tmp_path / "elsewhere"
    elsewhere.write_text("of somebody else")
    if kind == "folder":
        place.mkdir()
    elif kind == "link":
        place.symlink_to(elsewhere)
    else:
        os.mkfifo(place)
    with pytest.raises(ConfigError, match=LOCK_FILE), hold_instance_lock(tmp_path):
        pass
    assert elsewhere.read_text() == "of somebody else"


def test_another_machines_server_is_told_of(
    tmp_path: Path, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    """On a shared folder, each machine may run its own server; a warning is logged."""
    try:
        (tmp_path / LOCK_FILE).write_text(json.dumps({"machine": "another", "host": "gpu-2", "pid": 7}))
        with hold_instance_lock(tmp_path):
            assert "gpu-2" in caplog.text
    finally:
        holder.kill()
        holder.communicate()


def test_the_address_of_the_homes_server_is_known_while_it_runs(tmp_path: Path) -> None:
    """other_address is the URL if the settings differ from it; empty if they agree, and after its end."""
    settings = settings_of(tmp_path)
    assert other_address(settings) == ""
    with started(settings) as server:
        assert other_address(replace(settings, port=9)) == server.url
        same = replace(settings, port=int(server.url.rpartition(":")[2]))
        assert other_address(same) == ""
        assert other_address(replace(same, tls="auto")) == server.url
    assert other_address(settings) == ""


def test_who_looks_keeps_no_server_out(tmp_path: Path) -> None:
    """A check holds the lock for a moment; a starting server waits for it."""
    condition = subprocess.Popen([sys.executable, "-c", _LOOK, str(tmp_path / LOCK_FILE)], stdout=subprocess.PIPE, text=True)
    assert condition.stdout is not None
    assert condition.stdout.readline() == "looks\n"
    with hold_instance_lock(tmp_path):
        pass
    condition.communicate()


def test_a_second_server_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """A second server is rejected even on another port; after an orderly end the home is free."""
    settings = settings_of(tmp_path)
    with started(settings) as first:
        second = relevo.server.start_server(settings)
        with pytest.raises(ConfigError, match="already serves the home"):
            second.wait_ready(30)
        second.stop()
        assert httpx.get(f"{first.url}/health/live").status_code == 200
    with started(settings):
        pass
