"""Reading takes only regular files up to a limit; what is written is there completely or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from relevo.domain.access import AccessSnapshot
from relevo.domain.prediction import Arm
from relevo.domain.routing import RouteTarget, TrafficSplit
from relevo.errors import ConfigError, ImportModelError, MissingInputError, PackageError, RelevoError, UnknownFileFormatError
from relevo.util.files import (
    NotRegularFileError,
    load_state,
    open_regular,
    read_plain,
    read_plain_text,
    refuse_unless_plain,
    save_state,
    sweep_drafts,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(params=["device", "pipe", "giant"])
def endless(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path]:
    """A path with this suffix to a device, a pipe or a huge file."""

    def make(ending: str) -> Path:
        path = tmp_path / f"model{ending}"
        if request.param == "device":
            path.symlink_to("/dev/zero")
        elif request.param == "pipe":
            os.mkfifo(path)
        else:
            with path.open("wb") as file:
                file.truncate(2**40)
        return path

    return make


@pytest.mark.parametrize("read", [open_regular, read_plain, read_plain_text, refuse_unless_plain])
def test_endless_things_are_refused(endless: Callable[[str], Path], read: Callable[[Path], object]) -> None:
    """A device, a pipe without a writer and a huge file are rejected before a byte is read."""
    with pytest.raises(NotRegularFileError, match=r"device or a pipe|larger than"):
        read(endless(""))


def test_a_file_is_read_to_its_bound(tmp_path: Path) -> None:
    """A file of exactly the limit is read completely, one byte more is rejected; a folder is not a file."""
    (tmp_path / "a").write_bytes(b"1234")
    assert read_plain(tmp_path / "a", max_bytes=4) == b"1234"
    with pytest.raises(NotRegularFileError, match="larger than 3"):
        read_plain(tmp_path / "a", max_bytes=3)
    with pytest.raises(NotRegularFileError, match="folder"):
        read_plain(tmp_path)


def test_every_door_refuses_them(endless: Callable[[str], Path]) -> None:
    """Model files, packages, samples, truths, outputs, data of a project and inputs of predict are all read this way."""
    from relevo.cli.commands.predictions import _read_inputs
    from relevo.importing.import_model import import_model
    from relevo.importing.output_files import read_outputs
    from relevo.importing.sample_files import read_samples
    from relevo.package.archive import is_package
    from relevo.package.conversion import ConversionOptions
    from relevo.package.package import open_package
    from relevo.project.config import DataSection, Project
    from relevo.project.data import load_examples

    def examples(path: Path) -> object:
        return load_examples(Project(folder=path.parent, name="m", data=DataSection(path=path.name), options=ConversionOptions()))

    doors: list[tuple[str, Callable[[Path], object], type[RelevoError]]] = [
        (".bin", lambda path: import_model(path, name="m"), UnknownFileFormatError),
        (".zip", open_package, PackageError),
        *((ending, read_samples, ImportModelError) for ending in (".json", ".jsonl", ".csv", ".npy", ".npz")),
        *((ending, read_outputs, ImportModelError) for ending in (".out.json", ".out.csv", ".out.npy")),
        *((ending, lambda path: _read_inputs(str(path)), MissingInputError) for ending in (".png", ".predict.json")),
        *((ending, examples, ConfigError) for ending in (".data.csv", ".data.npz")),
    ]
    began = time.monotonic()
    for ending, door, refusal in doors:
        with pytest.raises(refusal):
            door(endless(ending))
    assert not is_package(endless(".package"))
    assert time.monotonic() - began < 10


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


def test_only_abandoned_drafts_are_removed(tmp_path: Path) -> None:
    """Files and folders of an ended process are removed; drafts of a running one and similar names stay."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f".new-{dead.pid}-x", f".new-{dead.pid}-people"):
        (tmp_path / name).write_text("secret")
    (tmp_path / f".new-{dead.pid}-folder").mkdir()
    (tmp_path / f".new-{dead.pid}-folder" / "model.onnx").write_text("half")
    kept = {f".new-{os.getppid()}-x", "notes.2024", "audit.key", "people.json"}
    for name in kept:
        (tmp_path / name).write_text("kept")
    sweep_drafts([tmp_path, tmp_path / "not there"])
    assert {path.name for path in tmp_path.iterdir()} == kept
