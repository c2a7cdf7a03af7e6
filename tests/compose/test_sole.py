"""A home has one server at a time, and the next may begin as soon as it has ended, even by kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.serving_world import settings_of, started

from relevo import compose
from relevo.compose.sole import LOCK_FILE, sole_server
from relevo.errors import ConfigRefused

if TYPE_CHECKING:
    from pathlib import Path

_HOLD = """
import sys, time
from pathlib import Path
from relevo.compose.sole import sole_server
with sole_server(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that serves this home."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_held_home_is_refused_until_its_holder_is_gone(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The refusal names the process; killed without a word, it leaves nothing that would keep the next one out."""
    with pytest.raises(ConfigRefused, match=f"process {holder.pid}.*--home"), sole_server(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with sole_server(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_lock_is_refused(tmp_path: Path, kind: str) -> None:
    """A link in its place is not followed, so nothing is emptied elsewhere; the refusal names the file."""
    place, elsewhere = tmp_path / LOCK_FILE, tmp_path / "elsewhere"
    elsewhere.write_text("of somebody else")
    if kind == "folder":
        place.mkdir()
    elif kind == "link":
        place.symlink_to(elsewhere)
    else:
        os.mkfifo(place)
    with pytest.raises(ConfigRefused, match=LOCK_FILE), sole_server(tmp_path):
        pass
    assert elsewhere.read_text() == "of somebody else"


def test_another_machines_server_is_told_of(
    tmp_path: Path, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    """On a folder that machines share each has its own server."""
    try:
        (tmp_path / LOCK_FILE).write_text(json.dumps({"machine": "another", "host": "gpu-2", "pid": 7}))
        with sole_server(tmp_path):
            assert "gpu-2" in caplog.text
    finally:
        holder.kill()
        holder.communicate()


def test_a_second_server_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """Its own port alone would let it in; once the first has ended in order, the home is free."""
    settings = settings_of(tmp_path)
    with started(settings) as first:
        second = compose.start_server(settings)
        with pytest.raises(ConfigRefused, match="already serves the home"):
            second.wait_ready(30)
        second.stop()
        assert httpx.get(f"{first.url}/health/live").status_code == 200
    with started(settings):
        pass
