"""Readable images are used, unreadable ones are reported; none of them stops the training."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from relevo.errors import ConfigError
from relevo.project.image_folder import Unreadable, read_images

if TYPE_CHECKING:
    from pathlib import Path


def test_unreadable_images_are_reported_and_skipped(tmp_path: Path) -> None:
    """A text named .jpg, half a PNG, an empty file and a broken link are reported or skipped; the valid image is returned."""
    (tmp_path / "cat").mkdir()
    Image.effect_noise((40, 40), 50).save(tmp_path / "cat" / "good.png")
    content = (tmp_path / "cat" / "good.png").read_bytes()
    (tmp_path / "cat" / "half.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "cat" / "text.jpg").write_text("I am no picture.", encoding="utf-8")
    (tmp_path / "cat" / "empty.webp").touch()
    (tmp_path / "cat" / "gone.jpeg").symlink_to(tmp_path / "nowhere")
    skipped: list[Unreadable] = []
    images = list(read_images(tmp_path, (), skipped.append))
    assert [(image.label, image.path.name) for image in images] == [("cat", "good.png")]
    assert images[0].content == content
    assert {image.path.name: image.reason for image in skipped}.keys() == {"empty.webp", "half.png", "text.jpg"}
    assert all("image" in image.reason for image in skipped)


def test_hostile_images_do_not_stop_the_training(tmp_path: Path, real_data: Path) -> None:
    """Bombs, truncated files and fuzzing results are reported by name; most files that Pillow reads without a warning are used."""
    source = real_data / "nasty_images"
    (tmp_path / "nasty").symlink_to(source)
    skipped: list[Unreadable] = []
    read = {
        path.relative_to(tmp_path / "nasty").as_posix()
        for path in (image.path for image in read_images(tmp_path, (), skipped.append))
    }
    reported = {image.path.relative_to(tmp_path / "nasty").as_posix() for image in skipped}
    with (source / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row["result"] for row in csv.DictReader(file)}
    endings = (".png", ".jpg", ".jpeg", ".webp")
    images = {name for name in rows if name.lower().endswith(endings)}
    assert images <= read | reported
    assert not read & reported
    assert {name for name in images if rows[name] != "ok"} <= reported
    assert len(read) > len(images) / 2


def save_grey(path: Path, value: int = 100, form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path, form)


def read_folder(folder: Path, ignored: tuple[str, ...] = ()) -> tuple[list[tuple[str, bool | None]], list[str]]:
    skipped: list[Unreadable] = []
    images = [(image.label, image.held) for image in read_images(folder, ignored, skipped.append)]
    return images, [image.path.name for image in skipped]


def test_images_are_read_by_their_bytes(tmp_path: Path) -> None:
    """BMP, GIF, TIFF and JPEG with any suffix are read by their bytes; any other file is reported."""
    for name, form in (("a.bmp", "BMP"), ("b.gif", "GIF"), ("c.jfif", "JPEG"), ("d.tif", "TIFF"), ("e", "PNG"), ("f.pgm", "PPM")):
        save_grey(tmp_path / "cat" / name, form=form)
    (tmp_path / "cat" / "g.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "cat" / "notes.txt").write_text("cats", encoding="utf-8")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    images, skipped = read_folder(tmp_path)
    assert images == [("cat", None)] * 6
    assert skipped == ["g.heic", "notes.txt"]


def test_class_without_readable_image_is_an_error(tmp_path: Path) -> None:
    """A class of HEIC files only, or an empty one, is an error that names it and its number of files."""
    save_grey(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(ConfigError, match=r"class 'dog' holds no picture; name it in .* ignore"):
        read_folder(tmp_path)
    for number in range(3):
        (tmp_path / "dog" / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(ConfigError, match="none of the 3 files of the class 'dog' can be read"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, ("dog",)) == ([("cat", None)], [])


@pytest.mark.parametrize(
    ("training", "held"), [("train", "test"), ("Training", "validation"), ("train", "val"), ("training_set", "test-images")]
)
def test_the_folders_own_split_is_kept(tmp_path: Path, training: str, held: str) -> None:
    """`train` and `test` with the same classes in each are parts of a split: one for training, the other held out."""
    for part in (training, held):
        for number, name in enumerate(("cat", "dog")):
            save_grey(tmp_path / part / name / "1.png", number)
    images, _ = read_folder(tmp_path)
    assert sorted(images, key=str) == sorted([("cat", False), ("dog", False), ("cat", True), ("dog", True)], key=str)


def test_parts_of_a_split_are_never_classes(tmp_path: Path) -> None:
    """`train` and `test` with loose images are rejected; a single part is split by the hash; other folders next to them are an error."""
    for part in ("train", "test"):
        save_grey(tmp_path / "loose" / part / "1.png")
        save_grey(tmp_path / "mixed" / part / "cat" / "1.png")
    with pytest.raises(ConfigError, match="'test', 'train', which are parts of a split and no classes"):
        read_folder(tmp_path / "loose")
    save_grey(tmp_path / "mixed" / "unsorted" / "1.png")
    with pytest.raises(ConfigError, match="'test', 'train' look like parts of a split, and 'unsorted' like classes"):
        read_folder(tmp_path / "mixed")
    assert {held for _, held in read_folder(tmp_path / "mixed", ("unsorted",))[0]} == {True, False}
    assert read_folder(tmp_path / "mixed", ("unsorted", "test"))[0] == [("cat", None)]
    save_grey(tmp_path / "mixed" / "test" / "bird" / "1.png")
    with pytest.raises(ConfigError, match="class 'bird', of which there is nothing to learn from"):
        read_folder(tmp_path / "mixed", ("unsorted",))


def test_split_parts_with_other_names_are_rejected(tmp_path: Path) -> None:
    """Folders that all hold the same subfolders are rejected as parts of a split, whatever their names."""
    for part in ("fold1", "fold2"):
        for name in ("cat", "dog"):
            save_grey(tmp_path / part / name / "1.png")
    with pytest.raises(ConfigError, match="'fold1', 'fold2' each hold the same folders"):
        read_folder(tmp_path)


def test_train_may_be_a_class_among_others(tmp_path: Path) -> None:
    """A folder named `train` with images in it is a class, such as trains and buses."""
    for name in ("bus", "train"):
        save_grey(tmp_path / name / "1.png")
    assert read_folder(tmp_path)[0] == [("bus", None), ("train", None)]


def test_class_folders_one_level_too_deep_are_rejected(tmp_path: Path) -> None:
    """A folder around the class folders is not taken for the only class."""
    for name in ("cat", "dog"):
        save_grey(tmp_path / "animals" / name / "1.png")
    with pytest.raises(ConfigError, match="one class only, 'animals', and it holds the folders 'cat', 'dog'"):
        read_folder(tmp_path)
