"""What can be read is taken, what cannot is named; nothing of it ends the training."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from PIL import Image

from relevo.project.pictures import Unreadable, read_pictures

if TYPE_CHECKING:
    from pathlib import Path


def test_unreadable_pictures_are_told_and_left_out(tmp_path: Path) -> None:
    """A text named .jpg, half a PNG, an empty file and a link to nowhere are listed with a reason; the good one is given."""
    (tmp_path / "cat").mkdir()
    Image.effect_noise((40, 40), 50).save(tmp_path / "cat" / "good.png")
    whole = (tmp_path / "cat" / "good.png").read_bytes()
    (tmp_path / "cat" / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cat" / "text.jpg").write_text("I am no picture.", encoding="utf-8")
    (tmp_path / "cat" / "empty.webp").touch()
    (tmp_path / "cat" / "gone.jpeg").symlink_to(tmp_path / "nowhere")
    left: list[Unreadable] = []
    found = list(read_pictures(tmp_path, (), left.append))
    assert [(name, path.name) for name, path, _ in found] == [("cat", "good.png")]
    assert found[0][2] == whole
    assert {one.path.name: one.reason for one in left}.keys() == {"empty.webp", "half.png", "text.jpg"}
    assert all("image" in one.reason for one in left)


def test_hostile_pictures_end_no_training(tmp_path: Path, real_data: Path) -> None:
    """Bombs, truncated files and fuzz finds are left out by name, and those that Pillow reads without a word are mostly taken."""
    source = real_data / "nasty_images"
    (tmp_path / "nasty").symlink_to(source)
    left: list[Unreadable] = []
    taken = {path.relative_to(tmp_path / "nasty").as_posix() for _, path, _ in read_pictures(tmp_path, (), left.append)}
    named = {one.path.relative_to(tmp_path / "nasty").as_posix() for one in left}
    with (source / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row["result"] for row in csv.DictReader(file)}
    endings = (".png", ".jpg", ".jpeg", ".webp")
    pictures = {name for name in rows if name.lower().endswith(endings)}
    assert taken | named == pictures
    assert not taken & named
    assert {name for name in pictures if rows[name] != "ok"} <= named
    assert len(taken) > len(pictures) / 2
