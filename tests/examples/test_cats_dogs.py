"""The cats-and-dogs example, from its photographs to its last answer."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from examples.running import EXAMPLES, run_example

from relevo.project.holdout import held_out

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("keras", reason="the extra keras is not installed")


def test_it_answers_as_its_readme_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three versions, trained on a few photographs for two epochs, are served, asked as documented, and every query is kept."""
    monkeypatch.setenv("EXAMPLE_EPOCHS", "2")
    outcome = run_example("cats_dogs", tmp_path, limit=420, tell=lambda _: None)
    assert not outcome.problems
    assert outcome.asked == 2


def test_broken_photographs_are_listed_and_left_out(tmp_path: Path, real_data: Path) -> None:
    """Half a JPEG and a text called .jpg among the photographs end no training; both are named, and the others are learnt from."""
    project = shutil.copytree(EXAMPLES / "cats_dogs", tmp_path / "p")
    for kind in ("cat", "dog"):
        (project / "photos" / kind).mkdir(parents=True)
        for file in sorted((real_data / "cats_dogs" / kind).glob("*.jpg"))[:40]:
            shutil.copy(file, project / "photos" / kind)
    (project / "photos" / "cat" / "notes.jpg").write_text("no photograph", encoding="utf-8")
    half = real_data / "nasty_images" / "pillow" / "truncated_jpeg.jpg"
    shutil.copy(half, project / "photos" / "dog" / "half.jpg")
    told = (project / "relevo.toml").read_text(encoding="utf-8").replace('path = "data.py"', 'path = "photos"')
    (project / "relevo.toml").write_text(told, encoding="utf-8")
    command = [sys.executable, "-m", "relevo", "train", "--home", str(tmp_path / "home"), "--json"]
    environ = os.environ | {"EXAMPLE_EPOCHS": "1"}
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, check=True, timeout=300)
    outcome = json.loads(done.stdout)
    assert {os.path.basename(one["path"]) for one in outcome["unreadable"]} == {"notes.jpg", "half.jpg"}  # noqa: PTH119 - of a text
    assert all(one["reason"] for one in outcome["unreadable"])
    assert outcome["metrics"]["rows"] >= 10


def test_the_photographs_asked_about_are_held_out(real_data: Path) -> None:
    """What the README asks about was never learnt from; without photographs the same holds for the drawn faces."""
    data = runpy.run_path(str(EXAMPLES / "cats_dogs" / "data.py"))
    for kind, name in data["SHOWN"].items():
        assert held_out((real_data / "cats_dogs" / kind / name).read_bytes(), data["SHARE"])
    faces, kinds = data["drawn"](40)
    assert len({*faces}) == 40
    assert kinds.count("dog") == 20
