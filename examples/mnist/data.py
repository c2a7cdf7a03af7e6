"""The examples: MNIST from its four original files; where they are absent, digits drawn with a few strokes.

    train-…-ubyte.gz  60,000 digits to learn from        t10k-…-ubyte.gz  10,000 held out: the data set's own test part

Run as a program it draws `samples/`, one digit a file: MNIST itself is not shipped.
"""

from __future__ import annotations

import gzip
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("RELEVO_TEST_DATA") or HERE.parents[2] / "shared" / "data")
MNIST = SHARED / "mnist"
SIDE = 28
#: How many digits are drawn where there are no real ones.
DRAWN = 2000
#: Offsets of the numbers in an IDX file: after the magic number and one number for each axis.
IMAGES_BEGIN, LABELS_BEGIN = 16, 8


def load() -> dict[str, Any]:
    """Pictures (n, 28, 28), the digit each shows, and whether it is of the test part."""
    most = int(os.environ.get("EXAMPLE_LIMIT") or 70_000)
    if not MNIST.is_dir():
        return drawn(min(most, DRAWN))
    learnt, held = idx("train", most * 6 // 7), idx("t10k", most // 7)
    return {
        "x": np.concatenate([learnt[0], held[0]]),
        "y": np.concatenate([learnt[1], held[1]]),
        "held_out": [False] * len(learnt[1]) + [True] * len(held[1]),
    }


def idx(part: str, most: int) -> tuple[Any, Any]:
    """The first pictures and digits of a part. IDX: big-endian, after its head one byte a value."""
    pictures = np.frombuffer(gzip.decompress((MNIST / f"{part}-images-idx3-ubyte.gz").read_bytes())[IMAGES_BEGIN:], dtype=np.uint8)
    digits = np.frombuffer(gzip.decompress((MNIST / f"{part}-labels-idx1-ubyte.gz").read_bytes())[LABELS_BEGIN:], dtype=np.uint8)
    return pictures.reshape(-1, SIDE, SIDE)[:most], digits[:most].astype(int)


# --- digits drawn with a few strokes -----------------------------------------------------------------------------------

#: Each stroke a line through points; x to the right, y down, in 0..1 of the digit's own box.
STROKES: dict[int, list[list[tuple[float, float]]]] = {
    1: [[(0.35, 0.2), (0.55, 0), (0.5, 1)]],
    2: [[(0.1, 0.25), (0.3, 0.02), (0.7, 0.02), (0.9, 0.3), (0.6, 0.6), (0.1, 0.97), (0.95, 0.95)]],
    3: [[(0.1, 0.1), (0.6, 0), (0.85, 0.2), (0.45, 0.47), (0.9, 0.7), (0.65, 1), (0.05, 0.9)]],
    4: [[(0.25, 0), (0.1, 0.55), (0.95, 0.5)], [(0.75, 0), (0.65, 1)]],
    5: [[(0.9, 0.02), (0.25, 0.04), (0.18, 0.45), (0.6, 0.4), (0.9, 0.68), (0.6, 1), (0.05, 0.95)]],
    6: [[(0.7, 0), (0.25, 0.4), (0.12, 0.75), (0.4, 1), (0.8, 0.85), (0.7, 0.55), (0.2, 0.65)]],
    7: [[(0.05, 0.05), (0.9, 0.02), (0.6, 0.45), (0.4, 1)]],
    8: [[(0.8, 0.1), (0.4, 0), (0.2, 0.25), (0.75, 0.65), (0.6, 1), (0.25, 0.9), (0.35, 0.55), (0.8, 0.1)]],
    9: [[(0.85, 0.15), (0.4, 0), (0.15, 0.3), (0.5, 0.5), (0.85, 0.15), (0.75, 0.6), (0.55, 1)]],
}
RING = [(0.5 + 0.38 * math.sin(angle * math.pi / 6), 0.5 - 0.5 * math.cos(angle * math.pi / 6)) for angle in range(13)]
FINE = 4  # drawn so many times larger, then shrunk, for soft edges


def drawn(count: int) -> dict[str, Any]:
    """As many drawn digits, no two alike; every seventh is held out."""
    draw = random.Random(7)  # noqa: S311 - pictures, no secrets
    digits = [place % 10 for place in range(count)]
    pictures = [np.asarray(stroked(digit, draw)) for digit in digits]
    return {"x": np.stack(pictures), "y": digits, "held_out": [place // 10 % 7 == 0 for place in range(count)]}


def stroked(digit: int, draw: random.Random | None = None) -> Image.Image:
    """One digit as a pen would write it; with a generator of chance a little different each time."""
    chance = draw.uniform if draw is not None else lambda low, high: (low + high) / 2
    turn, grow, right, down = chance(-0.25, 0.25), chance(15, 21), chance(-2, 2), chance(-2, 2)
    picture = Image.new("L", (SIDE * FINE, SIDE * FINE))
    pen = ImageDraw.Draw(picture)
    for stroke in STROKES.get(digit, [RING]):
        points = [
            (
                FINE * (SIDE / 2 + right + grow * (0.72 * (x - 0.5) + turn * (0.5 - y)) + chance(-0.7, 0.7)),
                FINE * (SIDE / 2 + down + grow * (y - 0.5) + chance(-0.7, 0.7)),
            )
            for x, y in stroke
        ]
        pen.line(points, fill=255, width=round(FINE * chance(2.0, 3.0)), joint="curve")
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


if __name__ == "__main__":
    for digit in range(10):
        stroked(digit).save(HERE / "samples" / f"{digit}.png")
