"""A saved value is there completely or not at all, and never prevents a start."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from relevo.domain.access import AccessSnapshot
from relevo.domain.prediction import Arm
from relevo.domain.routing import RouteTarget, TrafficSplit
from relevo.util.state_file import load_state, save_state

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = [
    TrafficSplit(
        model="churn", epoch=3, targets=(RouteTarget(version=1, digest="a" * 64, arm=Arm.CHAMPION, weight=1.0),), salt="churn"
    )
]


def test_what_was_remembered_is_recalled(tmp_path: Path) -> None:
    """The last value is loaded as its type, from a file that only its owner can read, and no draft remains."""
    place = tmp_path / "routes.json"
    save_state(place, [])
    save_state(place, ROUTES)
    assert load_state(place, list[TrafficSplit]) == ROUTES
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"epoch": 1}', b"[1, 2]"])
def test_a_damaged_file_is_done_without(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A file damaged by a power failure, or of another release, is ignored; the log says so."""
    place = tmp_path / "people.json"
    assert load_state(place, AccessSnapshot) is None
    assert not caplog.records
    place.write_bytes(content)
    assert load_state(place, AccessSnapshot) is None
    assert "people.json cannot be read" in caplog.text


def test_a_disk_that_takes_nothing_is_no_trouble(tmp_path: Path) -> None:
    """If the file cannot be written, the previous one stays."""
    save_state(tmp_path / "absent" / "routes.json", ROUTES)
    assert load_state(tmp_path / "absent" / "routes.json", list[TrafficSplit]) is None
