"""The examples: photographs in a folder for each class; where they are absent, faces drawn by chance.

    RELEVO_TEST_DATA/cats_dogs/{cat,dog}/*.jpg ─► paths       Relevo reads them, lists and leaves out those that cannot be read

Run as a program it puts `cat.jpg` and `dog.jpg` here, two photographs the model will not have learnt from.
"""

from __future__ import annotations

import io
import os
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from relevo.project.holdout import held_out

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("RELEVO_TEST_DATA") or HERE.parents[2] / "shared" / "data")
PHOTOGRAPHS = SHARED / "cats_dogs"
CLASSES = ("cat", "dog")
#: As in relevo.toml.
SHARE = 0.2
#: Two of those held out.
SHOWN = {"cat": "cat.1070.jpg", "dog": "dog.1085.jpg"}
#: How many faces are drawn where there are no photographs.
DRAWN = 240


def load() -> tuple[list[Any], list[str]]:
    """Photographs, as paths or drawn, and what each shows."""
    most = int(os.environ.get("EXAMPLE_LIMIT") or 1_000_000)
    if not PHOTOGRAPHS.is_dir():
        return drawn(min(most, DRAWN))
    files = {one: sorted((PHOTOGRAPHS / one).glob("*.jpg"))[: most // 2] for one in CLASSES}
    return [file for one in CLASSES for file in files[one]], [one for one in CLASSES for _ in files[one]]


def drawn(count: int) -> tuple[list[bytes], list[str]]:
    """Faces with pointed ears and faces with hanging ones, no two alike."""
    draw = random.Random(7)  # noqa: S311 - pictures, no secrets
    kinds = [CLASSES[place % 2] for place in range(count)]
    return [face(kind, draw) for kind in kinds], kinds


def face(kind: str, draw: random.Random) -> bytes:
    """One drawn face as a JPEG."""
    picture = Image.new("RGB", (200, 160), tuple(draw.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(picture)
    fur = tuple(draw.randrange(60, 220) for _ in range(3))
    x, y, r = draw.randrange(70, 130), draw.randrange(80, 95), draw.randrange(35, 50)
    for side in (-1, 1):
        near, far = x + side * r // 4, x + side * r
        if kind == "cat":
            pen.polygon([(near, y - r), (far, y - r // 2), (far, y - 2 * r + 15)], fill=fur)
        else:
            pen.ellipse([min(far, far + side * 22), y - r // 2, max(far, far + side * 22), y + r], fill=fur)
    pen.ellipse([x - r, y - r, x + r, y + r], fill=fur)
    for side in (-1, 1):
        eye = x + side * r // 3
        pen.ellipse([eye - 5, y - 10, eye + 5, y], fill="black")
    pen.ellipse([x - 7, y + 8, x + 7, y + 16], fill="black")
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()


def unseen(kind: str) -> bytes:
    """A picture of this kind that is held out: of the photographs one that shows it well."""
    if PHOTOGRAPHS.is_dir():
        return (PHOTOGRAPHS / kind / SHOWN[kind]).read_bytes()
    faces, kinds = drawn(DRAWN)
    return next(face for face, is_kind in zip(faces, kinds, strict=True) if is_kind == kind and held_out(face, SHARE))


if __name__ == "__main__":
    for kind in CLASSES:
        (HERE / f"{kind}.jpg").write_bytes(unseen(kind))
