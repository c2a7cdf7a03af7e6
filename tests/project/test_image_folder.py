"""What can be read is taken, what cannot is named; nothing of it ends the training."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from relevo.errors import ConfigError
from relevo.project.image_folder import Unreadable, read_pictures

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
    assert [(one.label, one.path.name) for one in found] == [("cat", "good.png")]
    assert found[0].content == whole
    assert {one.path.name: one.reason for one in left}.keys() == {"empty.webp", "half.png", "text.jpg"}
    assert all("image" in one.reason for one in left)


def test_hostile_pictures_end_no_training(tmp_path: Path, real_data: Path) -> None:
    """Bombs, truncated files and fuzz finds are left out by name, and those that Pillow reads without a word are mostly taken."""
    source = real_data / "nasty_images"
    (tmp_path / "nasty").symlink_to(source)
    left: list[Unreadable] = []
    taken = {
        path.relative_to(tmp_path / "nasty").as_posix() for path in (one.path for one in read_pictures(tmp_path, (), left.append))
    }
    named = {one.path.relative_to(tmp_path / "nasty").as_posix() for one in left}
    with (source / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row["result"] for row in csv.DictReader(file)}
    endings = (".png", ".jpg", ".jpeg", ".webp")
    pictures = {name for name in rows if name.lower().endswith(endings)}
    assert pictures <= taken | named
    assert not taken & named
    assert {name for name in pictures if rows[name] != "ok"} <= named
    assert len(taken) > len(pictures) / 2


def grey(path: Path, value: int = 100, form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path, form)


def listed(folder: Path, ignored: tuple[str, ...] = ()) -> tuple[list[tuple[str, bool | None]], list[str]]:
    left: list[Unreadable] = []
    found = [(one.label, one.held) for one in read_pictures(folder, ignored, left.append)]
    return found, [one.path.name for one in left]


def test_whatever_a_picture_is_called_it_is_read(tmp_path: Path) -> None:
    """BMP, GIF, TIFF and JPEG under any ending are read by their bytes; what is none is listed, whatever it is called."""
    for name, form in (("a.bmp", "BMP"), ("b.gif", "GIF"), ("c.jfif", "JPEG"), ("d.tif", "TIFF"), ("e", "PNG"), ("f.pgm", "PPM")):
        grey(tmp_path / "cat" / name, form=form)
    (tmp_path / "cat" / "g.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "cat" / "notes.txt").write_text("cats", encoding="utf-8")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    found, left = listed(tmp_path)
    assert found == [("cat", None)] * 6
    assert left == ["g.heic", "notes.txt"]


def test_a_class_of_which_nothing_is_read_ends_the_training(tmp_path: Path) -> None:
    """A class of HEIC alone, or of nothing, does not vanish: it is named, with how many files it has."""
    grey(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(ConfigError, match=r"class 'dog' holds no picture; name it in .* ignore"):
        listed(tmp_path)
    for number in range(3):
        (tmp_path / "dog" / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(ConfigError, match="none of the 3 files of the class 'dog' can be read"):
        listed(tmp_path)
    assert listed(tmp_path, ("dog",)) == ([("cat", None)], [])


@pytest.mark.parametrize(
    ("learn", "held"), [("train", "test"), ("Training", "validation"), ("train", "val"), ("training_set", "test-images")]
)
def test_the_folders_own_split_is_kept(tmp_path: Path, learn: str, held: str) -> None:
    """`train` and `test` with the same classes in each are no classes: one side is learnt from, the other held out."""
    for part in (learn, held):
        for number, name in enumerate(("cat", "dog")):
            grey(tmp_path / part / name / "1.png", number)
    found, _ = listed(tmp_path)
    assert sorted(found, key=str) == sorted([("cat", False), ("dog", False), ("cat", True), ("dog", True)], key=str)


def test_parts_of_a_split_are_never_classes(tmp_path: Path) -> None:
    """`train` and `test` of loose pictures are refused; a part alone is divided; others beside them are asked about."""
    for part in ("train", "test"):
        grey(tmp_path / "loose" / part / "1.png")
        grey(tmp_path / "mixed" / part / "cat" / "1.png")
    with pytest.raises(ConfigError, match="'test', 'train', which are parts of a split and no classes"):
        listed(tmp_path / "loose")
    grey(tmp_path / "mixed" / "unsorted" / "1.png")
    with pytest.raises(ConfigError, match="'test', 'train' look like parts of a split, and 'unsorted' like classes"):
        listed(tmp_path / "mixed")
    assert {held for _, held in listed(tmp_path / "mixed", ("unsorted",))[0]} == {True, False}
    assert listed(tmp_path / "mixed", ("unsorted", "test"))[0] == [("cat", None)]
    grey(tmp_path / "mixed" / "test" / "bird" / "1.png")
    with pytest.raises(ConfigError, match="class 'bird', of which there is nothing to learn from"):
        listed(tmp_path / "mixed", ("unsorted",))


def test_parts_of_any_name_are_no_classes(tmp_path: Path) -> None:
    """Folders that all hold the same folders are told as parts of a split, whatever they are called."""
    for part in ("fold1", "fold2"):
        for name in ("cat", "dog"):
            grey(tmp_path / part / name / "1.png")
    with pytest.raises(ConfigError, match="'fold1', 'fold2' each hold the same folders"):
        listed(tmp_path)


def test_train_may_be_a_class_among_others(tmp_path: Path) -> None:
    """Photographs of trains and buses: a folder of that name with pictures in it is a class."""
    for name in ("bus", "train"):
        grey(tmp_path / name / "1.png")
    assert listed(tmp_path)[0] == [("bus", None), ("train", None)]


def test_classes_one_folder_too_deep_are_told(tmp_path: Path) -> None:
    """A folder around the classes is not taken for the only class."""
    for name in ("cat", "dog"):
        grey(tmp_path / "animals" / name / "1.png")
    with pytest.raises(ConfigError, match="one class only, 'animals', and it holds the folders 'cat', 'dog'"):
        listed(tmp_path)
