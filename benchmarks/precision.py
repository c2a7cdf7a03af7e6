"""What INT8 and half precision give a heavy network on this machine: VGG19, size, time for one picture, agreement.

    python benchmarks/precision.py [--side 224] [--pictures 24] [--repeats 7]

VGG19 with random weights and three classes, written as ONNX right away: how fast and how large a network is does not depend on what
it learnt. How well it agrees does, so the agreement printed here says nothing about your own network; `relevo.pack` measures that.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

import relevo
from relevo.runtime.model import RunnableModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.package.package import Package
    from relevo.package.quantization import Numbers

PRECISIONS: tuple[Numbers, ...] = ("float32", "float16", "int8")


def main() -> None:
    """Pack VGG19 three times and print one line each."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--side", type=int, default=224)
    told.add_argument("--pictures", type=int, default=24)
    told.add_argument("--repeats", type=int, default=7)
    told.add_argument("--threads", type=int, default=2)
    asked = told.parse_args()
    model = vgg19(asked.side)
    pictures = np.random.default_rng(0).integers(0, 256, (asked.pictures, asked.side, asked.side, 3), dtype=np.uint8)
    print(f"VGG19, {len(model) / 2**20:.0f} MiB, {asked.side} × {asked.side}, {asked.threads} threads, median of {asked.repeats}")
    first = 0.0
    for precision in PRECISIONS:
        begun = time.monotonic()
        package = packed(model, pictures, precision)
        took = time.monotonic() - begun
        each = to_image(package, pictures, asked)
        first = first or each
        size = len(package.files()["model.onnx"]) / 2**20
        cost = package.manifest.lineage.precision
        agree = f"{100 * cost.labels_agreeing:.1f} % alike, largest difference {cost.largest_difference:.2g}" if cost else ""
        print(
            f"{precision:8} {size:7.1f} MiB  {1000 * each:7.1f} ms a picture  ×{first / each:.2f}  packed in {took:.0f} s  {agree}"
        )


def vgg19(side: int) -> bytes:
    """The architecture of Simonyan and Zisserman (2014), configuration E, with random weights of the usual spread."""
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(1)
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])]
    weights: list[TensorProto] = []
    last, channels = "t", 3

    def weigh(shape: tuple[int, ...]) -> str:
        name = f"w{len(weights)}"
        spread = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        weights.append(numpy_helper.from_array(draw.standard_normal(shape, dtype=np.float32) * spread, name))
        return name

    for block, (repeats, wide) in enumerate(((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))):
        for place in range(repeats):
            name = f"c{block}{place}"
            nodes.append(helper.make_node("Conv", [last, weigh((wide, channels, 3, 3))], [name], pads=[1, 1, 1, 1]))
            nodes.append(helper.make_node("Relu", [name], [f"{name}r"]))
            last, channels = f"{name}r", wide
        nodes.append(helper.make_node("MaxPool", [last], [f"p{block}"], kernel_shape=[2, 2], strides=[2, 2]))
        last = f"p{block}"
    nodes.append(helper.make_node("Flatten", [last], ["flat"]))
    last, wide = "flat", 512 * (side // 32) ** 2
    for number, out in enumerate((4096, 4096, 3)):
        nodes.append(helper.make_node("Gemm", [last, weigh((out, wide))], [f"d{number}"], transB=1))
        last, wide = f"d{number}", out
        if out != 3:
            nodes.append(helper.make_node("Relu", [last], [f"{last}r"]))
            last = f"{last}r"
    nodes.append(helper.make_node("Softmax", [last], ["y"]))
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", side, side, 3])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "vgg19", [shape], [scores], weights)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def packed(model: bytes, pictures: NDArray[np.uint8], precision: Numbers) -> Package:
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


def to_image(package: Package, pictures: NDArray[np.uint8], asked: argparse.Namespace) -> float:
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
