"""The examples: chest X-rays and the patient of each; where they are absent, clouds drawn by chance.

    RELEVO_TEST_DATA/xray/{normal,bacteria,virus}/train/*.jpeg ─► paths, classes, patients

    person1015_virus_1702.jpeg        patient person1015
    NORMAL2-IM-1412-0001.jpeg         patient NORMAL2-IM-1412

Several pictures of one patient are alike: with one learnt and another held out, the figures would be too good. Run as a program
it puts `normal.jpg`, `bacteria.jpg` and `virus.jpg` here, pictures of patients the model will not have learnt from.
"""

from __future__ import annotations

import io
import os
import random
import re
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from relevo.project.holdout import held_out

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("RELEVO_TEST_DATA") or HERE.parents[2] / "shared" / "data")
PICTURES = SHARED / "xray"
CLASSES = ("normal", "bacteria", "virus")
PATIENT = re.compile(r"person\d+|(NORMAL2-)?IM-\d+")
#: As in relevo.toml.
SHARE = 0.25
#: How many pictures are drawn where there are no real ones.
DRAWN = 240


def load() -> dict[str, list[Any]]:
    """Pictures, as paths or drawn, what each shows, and whose it is."""
    most = int(os.environ.get("EXAMPLE_LIMIT") or 1_000_000)
    if not PICTURES.is_dir():
        return drawn(min(most, DRAWN))
    files = {one: sorted((PICTURES / one).rglob("*.jpeg"))[: most // len(CLASSES)] for one in CLASSES}
    return {
        "x": [file for one in CLASSES for file in files[one]],
        "y": [one for one in CLASSES for _ in files[one]],
        "groups": [patient(file) for one in CLASSES for file in files[one]],
    }


def patient(file: Path) -> str:
    """Whose picture it is; its own name where that does not tell."""
    found = PATIENT.match(file.name)
    return found[0] if found else file.name


def drawn(count: int) -> dict[str, list[Any]]:
    """Two dark lungs; of bacteria with one bright patch, of viruses with a veil; two of each patient."""
    draw = random.Random(7)  # noqa: S311 - pictures, no secrets
    kinds = [CLASSES[place // 2 % len(CLASSES)] for place in range(count)]
    return {"x": [chest(kind, draw) for kind in kinds], "y": kinds, "groups": [f"drawn{place // 2}" for place in range(count)]}


def chest(kind: str, draw: random.Random) -> bytes:
    """One drawn chest as a JPEG."""
    picture = Image.new("L", (160, 160), draw.randrange(130, 170))
    pen = ImageDraw.Draw(picture)
    veil = draw.randrange(50, 70) if kind == "virus" else 0
    lungs = [(30, 25, 70, 130), (90, 25, 130, 130)]
    for left, top, right, bottom in lungs:
        pen.ellipse([left, top + draw.randrange(12), right, bottom - draw.randrange(12)], fill=draw.randrange(20, 45) + veil)
    if kind == "bacteria":
        left, top, right, bottom = draw.choice(lungs)
        x, y, r = draw.randrange(left + 10, right - 10), draw.randrange(top + 30, bottom - 30), draw.randrange(10, 18)
        pen.ellipse([x - r, y - r, x + r, y + r], fill=210)
    out = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(3)).save(out, "JPEG", quality=90)
    return out.getvalue()


def unseen(kind: str) -> bytes:
    """A picture of this kind, of a patient that is held out."""
    found = load()
    rows = zip(found["x"], found["y"], found["groups"], strict=True)
    one = next(one for one, is_kind, whose in rows if is_kind == kind and held_out(whose.encode(), SHARE))
    return one.read_bytes() if isinstance(one, Path) else one


if __name__ == "__main__":
    for kind in CLASSES:
        (HERE / f"{kind}.jpg").write_bytes(unseen(kind))
