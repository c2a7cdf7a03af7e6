"""The picture jobs: digits as PNG, photographs as JPEG, and the nets that read them.

Real data come from RELEVO_TEST_DATA (default: ../shared/data beside the repository); where they are absent, pictures are drawn.
The digits model is the peers' own (RELEVO_PEERS, default: ../shared/bench/peers), so that every server has equal weights; where it
is absent, a net of that size is built with random ones. Models are run one row at a time here to say which class is right.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import Bodies
from PIL import Image, ImageDraw
from places import DATA, PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BOUNDARY = "relevo-benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """A picture model and the pictures it is asked about."""

    name: str
    onnx: bytes
    labels: tuple[str, ...]
    size: tuple[int, int]  # width, height in pixels
    mode: str
    pictures: tuple[bytes, ...]
    media: str

    def tensor(self, picture: bytes) -> NDArray[np.float32]:
        """Shape (1, height, width, channels), 0..1: Pillow's decoding, nearest neighbour."""
        opened = Image.open(io.BytesIO(picture))
        opened.load()
        # Both would copy a picture that is right already, and this is meant to be the limit.
        right = opened if opened.mode == self.mode else opened.convert(self.mode)
        sized = right if right.size == self.size else right.resize(self.size, Image.Resampling.NEAREST)
        pixels = np.asarray(sized)
        return (pixels.astype(np.float32) * np.float32(1 / 255)).reshape(1, self.size[1], self.size[0], -1)

    def classes(self) -> tuple[int, ...]:
        """The class of every picture, by the model alone."""
        session = open_session(self.onnx)
        name = session.get_inputs()[0].name
        scores = [session.run(None, {name: self.tensor(picture)})[0][0] for picture in self.pictures]
        return tuple(int(row.argmax()) if len(row) > 1 else int(row[0] >= 0.5) for row in scores)

    def raw(self) -> Bodies:
        """The pictures as they are."""
        return Bodies(kind=self.media, bodies=self.pictures, expected=self.classes())

    def multipart(self) -> Bodies:
        """The pictures as a form's field `file`."""
        bodies = tuple(_form(picture, self.media) for picture in self.pictures)
        return Bodies(kind=f"multipart/form-data; boundary={BOUNDARY}", bodies=bodies, expected=self.classes())


def _form(picture: bytes, media: str) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\nContent-Type: {media}\r\n\r\n'
    return head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def open_session(onnx: bytes) -> Any:
    """One thread, as every server here has it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def digits(count: int = 64) -> ImageJob:
    """28×28 grey PNG of handwritten digits, ten classes."""
    model = PEERS / "model.onnx"
    onnx = model.read_bytes() if model.exists() else digits_net()
    labels = tuple(str(digit) for digit in range(10))
    return ImageJob(
        name="digits", onnx=onnx, labels=labels, size=(28, 28), mode="L", pictures=_digit_pngs(count), media="image/png"
    )


def _digit_pngs(count: int) -> tuple[bytes, ...]:
    source = DATA / "mnist" / "t10k-images-idx3-ubyte.gz"
    if source.exists():
        pixels = np.frombuffer(gzip.decompress(source.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
        return tuple(_encoded(Image.fromarray(digit), "PNG") for digit in pixels[:count])
    return tuple(_encoded(_drawn_digit(number), "PNG") for number in range(count))


def _drawn_digit(number: int) -> Image.Image:
    canvas = Image.new("L", (28, 28))
    ImageDraw.Draw(canvas).text((8 + number % 5, 6 + number % 7), str(number % 10), fill=255)
    return canvas


def _encoded(picture: Image.Image, form: str) -> bytes:
    target = io.BytesIO()
    picture.save(target, form)
    return target.getvalue()


def photos(count: int = 48) -> ImageJob:
    """Photographs of 500×375 pixels (a pixel less is let pass), JPEG as published; two classes out of 100×100×3."""
    found = tuple(picture for picture in _published_photos() if _is_500_by_375(picture))[:count]
    pictures = found or tuple(_drawn_photo(seed) for seed in range(count))
    return ImageJob(
        name="photos", onnx=photo_net(), labels=("cat", "dog"), size=(100, 100), mode="RGB", pictures=pictures, media="image/jpeg"
    )


def _published_photos() -> list[bytes]:
    return [path.read_bytes() for path in sorted((DATA / "cats_dogs").glob("*/*.jpg"))]


def _is_500_by_375(picture: bytes) -> bool:
    width, height = Image.open(io.BytesIO(picture)).size
    return width in {499, 500} and height in {374, 375}


def _drawn_photo(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return _encoded(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC), "JPEG")


def digits_net() -> bytes:
    """Conv 32, pool, dense 10, softmax: about the size of the peers' net, random weights."""
    return _net((28, 28, 1), (32,), (10,), last="Softmax")


def photo_net() -> bytes:
    """Four convolutions (32, 64, 128, 128), dense 512, one sigmoid: 1.3 million random weights, the shape people teach with."""
    return _net((100, 100, 3), (32, 64, 128, 128), (512, 1), last="Sigmoid")


def _net(shape: tuple[int, int, int], filters: Sequence[int], dense: Sequence[int], *, last: str) -> bytes:
    """Convolutions 3×3 without padding, each with ReLU and 2×2 pooling, then dense layers; input (n, height, width, channels)."""
    from onnx import TensorProto, helper, numpy_helper

    dice = np.random.default_rng(20_26)
    height, width, channels = shape
    nodes = [helper.make_node("Transpose", ["image"], ["x0"], perm=[0, 3, 1, 2])]
    weights: list[Any] = []

    def weight(name: str, *size: int) -> str:
        spread = np.sqrt(2 / np.prod(size[1:])) if name.startswith("conv") else np.sqrt(2 / size[0])
        weights.append(numpy_helper.from_array((dice.standard_normal(size) * spread).astype(np.float32), name))
        return name

    at = "x0"
    for number, wide in enumerate(filters):
        nodes += [
            helper.make_node("Conv", [at, weight(f"conv{number}", wide, channels, 3, 3)], [f"c{number}"]),
            helper.make_node("Relu", [f"c{number}"], [f"r{number}"]),
            helper.make_node("MaxPool", [f"r{number}"], [f"p{number}"], kernel_shape=[2, 2], strides=[2, 2]),
        ]
        at, channels, height, width = f"p{number}", wide, (height - 2) // 2, (width - 2) // 2
    nodes.append(helper.make_node("Flatten", [at], ["flat"]))
    at, inward = "flat", channels * height * width
    for number, wide in enumerate(dense):
        nodes.append(helper.make_node("MatMul", [at, weight(f"dense{number}", inward, wide)], [f"d{number}"]))
        is_last = number == len(dense) - 1
        nodes.append(helper.make_node(last if is_last else "Relu", [f"d{number}"], ["scores" if is_last else f"e{number}"]))
        at, inward = f"e{number}", wide
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", dense[-1]])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())
