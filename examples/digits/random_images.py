"""Random test images out of a data set, as PNG files: to try the page with, or to send to the server one by one.

    python random_images.py --count 10 --seed 1 --out random_images      ─► random_images/0-seven.png, …

Only held-out digits are drawn: the model has not seen them. The same seed draws the same ones.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from data import MNIST, load  # type: ignore[import-not-found]  # it lies beside this file
from PIL import Image

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def main() -> None:
    """Write the images and say their names, one a line."""
    asked = argparse.ArgumentParser(description="Write random held-out digits as PNG files.")
    asked.add_argument("--count", type=int, default=10, help="how many")
    asked.add_argument("--seed", type=int, help="draw these again; a new draw each time without it")
    asked.add_argument("--out", type=Path, default=Path("random_images"), help="folder for the files")
    given = asked.parse_args()
    sys.stderr.write(
        f"drawn from {'MNIST' if MNIST.is_dir() else 'the digits of scikit-learn: there is no MNIST at ' + str(MNIST)}\n"
    )
    for path in random_images(given.out, given.count, given.seed):
        print(path)


def random_images(folder: Path, count: int, seed: int | None = None) -> list[Path]:
    """Write `count` held-out digits, each named by its place in the draw and the digit it shows. Gives the files."""
    digits = load()
    held = np.flatnonzero(digits["held_out"])
    if not 1 <= count <= len(held):
        raise SystemExit(f"--count must lie in 1..{len(held)}")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(seed).choice(held, count, replace=False)
    paths = [folder / f"{place}-{WORDS[digits['y'][chosen]]}.png" for place, chosen in enumerate(drawn)]
    for path, chosen in zip(paths, drawn, strict=True):
        Image.fromarray(digits["x"][chosen]).save(path)
    return paths


if __name__ == "__main__":
    main()
