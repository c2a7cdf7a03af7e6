"""The examples: MNIST with its own test part; where it is absent, the 1,797 digits that come with scikit-learn, enlarged.

mnist/*-idx?-ubyte.gz ─ header, bytes ─► pictures (n, 28, 28)      held_out: the 10,000 of the test part
scikit-learn's digits ─ 8 × 8 to 20 × 20, framed ─► the same       held_out: every fourth
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARED = Path(os.environ.get("RELEVO_TEST_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
MNIST = SHARED / "mnist"
#: Pixels of a side, and of the frame around a digit.
SIDE, FRAME = 28, 4


def load() -> dict[str, Any]:
    """x: uint8 pictures (n, 28, 28), white on black. y: the digit each shows. held_out: whether training must not see it."""
    x, y, held_out = mnist() if MNIST.is_dir() else bundled()
    few = int(os.environ.get("EXAMPLE_LIMIT") or len(x))
    # Some of both sides, for a quick look.
    chosen = np.random.default_rng(0).permutation(len(x))[:few]
    return {"x": x[chosen], "y": y[chosen], "held_out": held_out[chosen]}


def mnist() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """The four files: 60,000 to learn from, 10,000 held out."""
    pictures = [idx(MNIST / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")]
    truths = [idx(MNIST / f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")]
    held_out = [np.full(len(some), part) for part, some in enumerate(truths)]
    return np.concatenate(pictures), np.concatenate(truths).astype(np.int64), np.concatenate(held_out).astype(bool)


def idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file: two zero bytes, the type (8: uint8), the number of axes, the length of each, then the values."""
    content = gzip.decompress(path.read_bytes())
    axes = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=axes, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def bundled() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """scikit-learn's digits, brought to MNIST's form."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    inner = (SIDE - 2 * FRAME,) * 2
    small = (digits.images * (255 / 16)).round().astype(np.uint8)
    large = np.stack([np.asarray(Image.fromarray(one).resize(inner, Image.Resampling.BICUBIC)) for one in small])
    held_out = np.arange(len(large)) % 4 == 3
    return np.pad(large, ((0, 0), (FRAME, FRAME), (FRAME, FRAME))), digits.target.astype(np.int64), held_out
