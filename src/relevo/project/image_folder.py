"""Reads images from one folder a class; unreadable files are reported and skipped.

    folder/<class>/**/* ─ bytes ─ decoded like on the server ─┬─► LabeledImage: class, path, bytes, side
                                                              └─► Unreadable: path and reason, passed to `tell`
    folder/{train,test}/<class>/**/*                           the folder's own split: train for training, the others held out

One broken image among thousands must not stop a training, but it must be reported; a class without a readable image is an error.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput
from relevo.errors import ConfigError, InvalidInputError
from relevo.runtime.image import OWN_FILES, decode
from relevo.util.files import read_error_text, read_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Only to test the decoding: every pixel is decoded, then the image is resized to one.
_ANY_SIZE, _ANY_STEPS = ImageInput(width=1, height=1), ImageSteps(input="pixels")
#: Names of the parts of a split: for training, and held out.
_TRAINING, _HELD_OUT = frozenset({"train", "training"}), frozenset({"test", "testing", "val", "valid", "validation", "dev", "eval"})
_SET_SUFFIX = re.compile(r"[ _-]?(set|data|dataset|images|imgs|pictures|photos)$")
#: Files and folders that operating systems create.
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that was skipped. Lifetime: one training."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledImage:
    """One readable image with its class. Lifetime: one training."""

    label: str
    path: Path
    content: bytes
    #: Whether it is held out, where the folder has its own split.
    held: bool | None = None


def read_images(folder: Path, ignored: tuple[str, ...], report_progress: Callable[[Unreadable], object]) -> Iterator[LabeledImage]:
    """Read every image with its class, the name of its class folder; ordered by path.

    ignored: folders that are not classes. report_progress: called with each file that cannot be read as an image.
    Raises ConfigError for a class without a readable image, a split without classes, and no class at all.
    """
    parts = _subfolders(folder, ignored)
    split = [part for part in parts if _part_name(part) in _TRAINING | _HELD_OUT]
    if split and not any(_holds_files(part) for part in split):
        yield from _read_split(parts, split, ignored, report_progress)
        return
    if len(split) > 1 and len(split) == len(parts):
        raise ConfigError(
            reason=f"[data] path: '{folder.name}' holds {_quote_names(split)}, which are parts of a split and no classes; "
            "in each, put a folder for each class"
        )
    _refuse_unknown_split(parts)
    yield from _read_classes(parts, report_progress, held=None)


def _part_name(folder: Path) -> str:
    """Return the folder name in the form of a split part: `training` of `training_set`, `train` of `train-images`."""
    return _SET_SUFFIX.sub("", folder.name.lower())


def _refuse_unknown_split(parts: list[Path]) -> None:
    """Raises ConfigError when all folders hold the same subfolders and nothing else: parts of a split, with classes inside."""
    subfolder_names = [{folder.name for folder in _subfolders(part, ())} for part in parts if not _holds_files(part)]
    if (
        len(parts) > 1
        and len(subfolder_names) == len(parts)
        and len(subfolder_names[0]) > 1
        and all(names == subfolder_names[0] for names in subfolder_names)
    ):
        raise ConfigError(
            reason=f"[data] path: {_quote_names(parts[:5])} each hold the same folders, so they look like parts of a split "
            "and no classes; call them train and test, or let path name one of them"
        )


def read_image(file: Path, report_progress: Callable[[Unreadable], object]) -> bytes | None:
    """Return the file's bytes when they are an image; else report it and return None."""
    try:
        content = read_plain(file)
        with warnings.catch_warnings():
            # Pillow's warnings about metadata do not matter here: the pixels decode, or the file is skipped.
            warnings.simplefilter("ignore")
            decode(content, _ANY_SIZE, _ANY_STEPS, OWN_FILES)
    except (InvalidInputError, OSError) as cause:
        report_progress(Unreadable(path=file, reason=read_error_text(cause) if isinstance(cause, OSError) else str(cause)))
        return None
    return content


def _read_split(
    parts: list[Path], split: list[Path], ignored: tuple[str, ...], report_progress: Callable[[Unreadable], object]
) -> Iterator[LabeledImage]:
    """Read the classes in each part of the folder's own split."""
    others = [folder for folder in parts if folder not in split]
    if others:
        raise ConfigError(
            reason=f"[data] path: {_quote_names(split)} look like parts of a split, and {_quote_names(others)} like classes; "
            "name those that are to be left out in [data] ignore"
        )
    classes_by_part = {part: _subfolders(part, ignored) for part in split}
    class_names = {part: {folder.name for folder in classes} for part, classes in classes_by_part.items()}
    training_classes = set().union(*(classes for part, classes in class_names.items() if _part_name(part) in _TRAINING))
    for part, classes in class_names.items():
        unknown = sorted(classes - training_classes)
        if training_classes and unknown:
            raise ConfigError(
                reason=f"[data] path: '{part.name}' holds the class '{unknown[0]}', of which there is nothing to learn from"
            )
    # A single part, or no training part, is not a split: the hash divides it like any folder.
    has_own_split = bool(training_classes) and len(split) > 1
    for part, class_folders in classes_by_part.items():
        yield from _read_classes(class_folders, report_progress, held=_part_name(part) in _HELD_OUT if has_own_split else None)


def _read_classes(
    classes: list[Path], report_progress: Callable[[Unreadable], object], *, held: bool | None
) -> Iterator[LabeledImage]:
    if len(classes) == 1 and (subfolders := _subfolders(classes[0], ())) and not _holds_files(classes[0]):
        raise ConfigError(
            reason=f"[data] path: there is one class only, '{classes[0].name}', and it holds the folders {_quote_names(subfolders[:5])}; "
            "if these are the classes, let path name the folder they lie in"
        )
    for folder in classes:
        unreadable_count = read_count = 0

        def skip(file: Unreadable) -> None:
            nonlocal unreadable_count
            unreadable_count += 1
            report_progress(file)

        for file in sorted(folder.rglob("*")):
            if not _is_user_file(file.relative_to(folder).parts) or not file.is_file():
                continue
            content = read_image(file, skip)
            if content is not None:
                read_count += 1
                yield LabeledImage(label=folder.name, path=file, content=content, held=held)
        if not read_count:
            raise ConfigError(
                reason=f"[data] path: none of the {unreadable_count} files of the class '{folder.name}' can be read as a picture; "
                "name it in [data] ignore if it is no class"
                if unreadable_count
                else f"[data] path: the class '{folder.name}' holds no picture; name it in [data] ignore if it is no class"
            )


def _subfolders(folder: Path, ignored: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_user_file((path.name,)) and path.name not in ignored)


def _holds_files(folder: Path) -> bool:
    """Whether the folder directly contains a file, or nothing at all."""
    entries = [entry for entry in folder.iterdir() if _is_user_file((entry.name,))]
    return not entries or any(entry.is_file() for entry in entries)


def _is_user_file(parts: tuple[str, ...]) -> bool:
    return not any(part.startswith(".") or part.lower() in _SYSTEM_FILES for part in parts)


def _quote_names(folders: list[Path]) -> str:
    return ", ".join(f"'{folder.name}'" for folder in folders)
