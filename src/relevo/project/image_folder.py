"""Pictures in a folder for each class; what cannot be read is told and left out.

    folder/<class>/**/* ─ bytes ─ decoded as the server would ─┬─► Found: class, path, bytes, side
                                                               └─► Unreadable: path and reason, for whoever asked to be told
    folder/{train,test}/<class>/**/*                            the folder's own split: train to learn from, the others held out

One broken photograph among thousands is no reason to stop a training; one that nobody is told of would be, and so is a class that
is left with none.
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

#: Every pixel is decoded; then one is kept, since only the decoding is tried.
_ANY_SIZE, _ANY_STEPS = ImageInput(width=1, height=1), ImageSteps(input="pixels")
#: Names of the parts of a split; what lies in the first is learnt from.
_LEARN, _HELD = frozenset({"train", "training"}), frozenset({"test", "testing", "val", "valid", "validation", "dev", "eval"})
_SET = re.compile(r"[ _-]?(set|data|dataset|images|imgs|pictures|photos)$")
#: What systems leave in folders beside what people put there.
_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that was left out; lives as long as one training."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One readable picture; lives as long as one training."""

    label: str
    path: Path
    content: bytes
    #: Whether it is held out, where the folders say so themselves.
    held: bool | None = None


def read_pictures(folder: Path, ignored: tuple[str, ...], tell: Callable[[Unreadable], object]) -> Iterator[Found]:
    """Every readable picture with its class, the name of the folder it lies under; in order of their paths.

    ignored: folders that are no class. tell: is given each file that cannot be read as a picture.
    Raises ConfigError for a class without a readable picture, a split without classes, and no class at all.
    """
    parts = _folders(folder, ignored)
    split = [one for one in parts if _part(one) in _LEARN | _HELD]
    if split and not any(_holds_files(one) for one in split):
        yield from _split(parts, split, ignored, tell)
        return
    if len(split) > 1 and len(split) == len(parts):
        raise ConfigError(
            reason=f"[data] path: '{folder.name}' holds {_named(split)}, which are parts of a split and no classes; "
            "in each, put a folder for each class"
        )
    _refuse_unknown_split(parts)
    yield from _classes(parts, tell, held=None)


def _part(folder: Path) -> str:
    """The name as a part of a split may bear it: of `training_set` and `train-images` what is before it."""
    return _SET.sub("", folder.name.lower())


def _refuse_unknown_split(parts: list[Path]) -> None:
    """Raises ConfigError when all folders hold the same folders and nothing else: those are classes, and these their parts."""
    within = [{one.name for one in _folders(part, ())} for part in parts if not _holds_files(part)]
    if len(parts) > 1 and len(within) == len(parts) and len(within[0]) > 1 and all(names == within[0] for names in within):
        raise ConfigError(
            reason=f"[data] path: {_named(parts[:5])} each hold the same folders, so they look like parts of a split "
            "and no classes; call them train and test, or let path name one of them"
        )


def readable(file: Path, tell: Callable[[Unreadable], object]) -> bytes | None:
    """The file's bytes when they are a picture; else None, and it is told."""
    try:
        content = read_plain(file)
        with warnings.catch_warnings():
            # What Pillow makes of odd metadata is nothing to a training: the pixels are there, or the file is left out.
            warnings.simplefilter("ignore")
            decode(content, _ANY_SIZE, _ANY_STEPS, OWN_FILES)
    except (InvalidInputError, OSError) as cause:
        tell(Unreadable(path=file, reason=read_error_text(cause) if isinstance(cause, OSError) else str(cause)))
        return None
    return content


def _split(parts: list[Path], split: list[Path], ignored: tuple[str, ...], tell: Callable[[Unreadable], object]) -> Iterator[Found]:
    """The classes within the parts of the folder's own split."""
    others = [one for one in parts if one not in split]
    if others:
        raise ConfigError(
            reason=f"[data] path: {_named(split)} look like parts of a split, and {_named(others)} like classes; "
            "name those that are to be left out in [data] ignore"
        )
    within = {part: _folders(part, ignored) for part in split}
    named = {part: {one.name for one in classes} for part, classes in within.items()}
    learnt = set().union(*(classes for part, classes in named.items() if _part(part) in _LEARN))
    for part, classes in named.items():
        unknown = sorted(classes - learnt)
        if learnt and unknown:
            raise ConfigError(
                reason=f"[data] path: '{part.name}' holds the class '{unknown[0]}', of which there is nothing to learn from"
            )
    # One part alone, or none to learn from, is no split: the hash divides it as it would any folder.
    told = bool(learnt) and len(split) > 1
    for part, inside in within.items():
        yield from _classes(inside, tell, held=_part(part) in _HELD if told else None)


def _classes(classes: list[Path], tell: Callable[[Unreadable], object], *, held: bool | None) -> Iterator[Found]:
    if len(classes) == 1 and (inner := _folders(classes[0], ())) and not _holds_files(classes[0]):
        raise ConfigError(
            reason=f"[data] path: there is one class only, '{classes[0].name}', and it holds the folders {_named(inner[:5])}; "
            "if these are the classes, let path name the folder they lie in"
        )
    for one in classes:
        left = read = 0

        def count(file: Unreadable) -> None:
            nonlocal left
            left += 1
            tell(file)

        for file in sorted(one.rglob("*")):
            if not _is_peoples(file.relative_to(one).parts) or not file.is_file():
                continue
            content = readable(file, count)
            if content is not None:
                read += 1
                yield Found(label=one.name, path=file, content=content, held=held)
        if not read:
            raise ConfigError(
                reason=f"[data] path: none of the {left} files of the class '{one.name}' can be read as a picture; "
                "name it in [data] ignore if it is no class"
                if left
                else f"[data] path: the class '{one.name}' holds no picture; name it in [data] ignore if it is no class"
            )


def _folders(folder: Path, ignored: tuple[str, ...]) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and _is_peoples((one.name,)) and one.name not in ignored)


def _holds_files(folder: Path) -> bool:
    """Whether a file lies in it directly, or nothing at all does."""
    inside = [one for one in folder.iterdir() if _is_peoples((one.name,))]
    return not inside or any(one.is_file() for one in inside)


def _is_peoples(parts: tuple[str, ...]) -> bool:
    return not any(part.startswith(".") or part.lower() in _SYSTEMS for part in parts)


def _named(folders: list[Path]) -> str:
    return ", ".join(f"'{one.name}'" for one in folders)
