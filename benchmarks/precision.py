"""What INT8 and half precision give a heavy network on this machine: VGG19, size, time for one picture, agreement.

    python benchmarks/precision.py [--side 224] [--pictures 24] [--repeats 7]

VGG19 with fresh weights and three classes: how fast and how large a network is does not depend on what it learnt; how well it
agrees does, so the agreement printed here is of the scores and says nothing about your own network. `relevo.pack` measures that.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import relevo
from relevo.package.convert.keras_quiet import library
from relevo.runtime.model import RunnableModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.package.opening import Package
    from relevo.package.precision import Numbers

PRECISIONS: tuple[Numbers, ...] = ("float32", "float16", "int8")


def main() -> None:
    """Pack VGG19 three times and print one line each."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--side", type=int, default=224)
    told.add_argument("--pictures", type=int, default=24)
    told.add_argument("--repeats", type=int, default=7)
    told.add_argument("--threads", type=int, default=2)
    asked = told.parse_args()
    keras = library("keras")
    keras.utils.set_random_seed(1)
    model = keras.applications.VGG19(weights=None, classes=3, input_shape=(asked.side, asked.side, 3))
    pictures = np.random.default_rng(0).integers(0, 256, (asked.pictures, asked.side, asked.side, 3), dtype=np.uint8)
    print(
        f"VGG19, {model.count_params():,} weights, {asked.side} × {asked.side}, {asked.threads} threads, median of {asked.repeats}"
    )
    first = 0.0
    for precision in PRECISIONS:
        begun = time.monotonic()
        package = packed(model, pictures, precision)
        took = time.monotonic() - begun
        each = one_picture(package, pictures, asked)
        first = first or each
        size = len(package.files()["model.onnx"]) / 2**20
        cost = package.manifest.lineage.precision
        agree = f"{100 * cost.labels_agreeing:.1f} % alike, largest difference {cost.largest_difference:.2g}" if cost else ""
        print(
            f"{precision:8} {size:7.1f} MiB  {1000 * each:7.1f} ms a picture  ×{first / each:.2f}  packed in {took:.0f} s  {agree}"
        )


def packed(model: Any, pictures: NDArray[np.uint8], precision: Numbers) -> Package:  # noqa: ANN401 - a Keras model
    """The package in that precision, whatever it costs."""
    return relevo.pack(
        model,
        name="vgg19",
        samples=pictures,
        labels=["normal", "bacteria", "virus"],
        preprocess="vgg19",
        precision=precision,
        max_loss=1.0,
        figures=False,
    )


def one_picture(package: Package, pictures: NDArray[np.uint8], asked: argparse.Namespace) -> float:
    """Seconds for one picture, from pixels to scores, the median of several."""
    model = RunnableModel(package.manifest, package.files()["model.onnx"], threads=asked.threads)
    model.run([pictures[0]])
    spans = []
    for _ in range(asked.repeats):
        begun = time.perf_counter()
        model.run([pictures[1]])
        spans.append(time.perf_counter() - begun)
    return statistics.median(spans)


if __name__ == "__main__":
    main()
