"""Pictures in a folder for each class; what cannot be read is told and left out.

    folder/<class>/**/*.jpg ─ bytes ─ decoded as the server would ─┬─► (class, path, bytes)
                                                                  └─► Unreadable: path and reason, for whoever asked to be told

One broken photograph among thousands is no reason to stop a training; one that nobody is told of would be.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput
from relevo.errors import InputRefused
from relevo.plain_files import read_plain
from relevo.runtime.image import ImageLimits, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}
#: Every pixel is decoded; then one is kept, since only the decoding is tried.
_ANY_SIZE, _ANY_STEPS = ImageInput(width=1, height=1), ImageSteps(input="pixels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that was left out; lives as long as one training."""

    path: Path
    reason: str


def read_pictures(
    folder: Path, ignored: tuple[str, ...], tell: Callable[[Unreadable], object]
) -> Iterator[tuple[str, Path, bytes]]:
    """Every readable picture with its class, the name of the folder it lies under; in order of their paths.

    ignored: folders that are no class. tell: is given each file that has a picture's ending and cannot be read as one.
    """
    for one in sorted(folder.iterdir()):
        if not one.is_dir() or one.name.startswith(".") or one.name in ignored:
            continue
        for file in sorted(one.rglob("*")):
            if file.suffix.lower() not in _ENDINGS or not file.is_file():
                continue
            content = readable(file, tell)
            if content is not None:
                yield one.name, file, content


def readable(file: Path, tell: Callable[[Unreadable], object]) -> bytes | None:
    """The file's bytes when they are a picture; else None, and it is told."""
    try:
        content = read_plain(file)
        with warnings.catch_warnings():
            # What Pillow makes of odd metadata is nothing to a training: the pixels are there, or the file is left out.
            warnings.simplefilter("ignore")
            decode(content, _ANY_SIZE, _ANY_STEPS, ImageLimits())
    except (InputRefused, OSError) as cause:
        tell(Unreadable(path=file, reason=str(cause)))
        return None
    return content
