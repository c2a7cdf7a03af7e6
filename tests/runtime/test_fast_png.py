"""The fast path for small PNGs: its pixels always equal Pillow's, and never contain those of another caller."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput
from relevo.errors import InvalidInputError
from relevo.runtime.fast_png import FastPngDecoder
from relevo.runtime.image import ImageLimits, decode

MODES = {"L": 0, "RGB": 2}
COLOURS: Any = st.sampled_from(["L", "RGB"])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, mode: str, lines: bytes, *, cuts: int = 1, level: int = 6) -> bytes:
    packed = zlib.compress(lines, level)
    step = -(-len(packed) // cuts)
    data = b"".join(chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step))
    header = struct.pack(">IIBBBBB", width, height, 8, MODES[mode], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def white(mode: str) -> bytes:
    return png(8, 8, mode, (b"\0" + b"\xff" * (8 * len(mode))) * 8)


def image_input(mode: Any, width: int = 8, height: int = 8) -> ImageInput:
    return ImageInput(width=width, height=height, mode=mode)


def reference_pixels(file: bytes, expected: ImageInput) -> np.ndarray:
    return decode(file, expected, ImageSteps(input="x"), ImageLimits())


@given(
    width=st.integers(1, 20),
    height=st.integers(1, 20),
    mode=COLOURS,
    cuts=st.integers(1, 4),
    level=st.integers(0, 9),
    data=st.data(),
)
def test_any_plain_png_is_pillows(width: int, height: int, mode: str, cuts: int, level: int, data: st.DataObject) -> None:
    """Greyscale and RGB PNGs of any size, with every line filter and any number of chunks, give Pillow's pixels."""
    row = width * len(mode)
    lines = b"".join(
        bytes([data.draw(st.integers(0, 4))]) + data.draw(st.binary(min_size=row, max_size=row)) for _ in range(height)
    )
    file = png(width, height, mode, lines, cuts=cuts, level=level)
    pixels = FastPngDecoder(image_input(mode, width, height)).pixels(file)
    assert pixels is not None
    assert pixels.tolist() == np.asarray(Image.open(io.BytesIO(file))).tolist()
    assert pixels.shape == ((height, width) if mode == "L" else (height, width, 3))


@settings(max_examples=400)
@given(mode=COLOURS, data=st.data())
def test_a_damaged_one_is_left_to_the_general_way_or_equal_to_it(mode: str, data: st.DataObject) -> None:
    """With bytes cut, changed or added anywhere, a PNG gives the pixels of `runtime.image`, or is left to it."""
    whole = png(8, 8, mode, bytes(range(8 * len(mode) + 1)) * 8, cuts=2)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 12)))
    file = whole[:start] + data.draw(st.binary(max_size=6)) + whole[stop:]
    decoder = FastPngDecoder(image_input(mode))
    decoder.pixels(white(mode))
    pixels = decoder.pixels(file)
    if pixels is not None:
        assert pixels.tolist() == reference_pixels(file, image_input(mode)).tolist()


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("count", range(9))
def test_pixels_of_an_earlier_image_never_leak(mode: str, count: int) -> None:
    """A truncated image shows nothing of the previous one: missing lines are as Pillow leaves them, or it is rejected."""
    decoder = FastPngDecoder(image_input(mode))
    assert decoder.pixels(white(mode)) is not None
    short = png(8, 8, mode, bytes((8 * len(mode) + 1) * count))
    pixels = decoder.pixels(short)
    if pixels is None:
        with pytest.raises(InvalidInputError):
            reference_pixels(short, image_input(mode))
    else:
        assert pixels.tolist() == reference_pixels(short, image_input(mode)).tolist()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_that_was_given_stays_as_it_was(mode: str) -> None:
    """Pixels that wait for the model are not changed by images decoded later."""
    decoder = FastPngDecoder(image_input(mode))
    first = decoder.pixels(white(mode))
    decoder.pixels(png(8, 8, mode, bytes((8 * len(mode) + 1) * 8)))
    assert first is not None
    assert first.min() == 255


def test_threads_do_not_paint_on_one_canvas() -> None:
    """Images decoded in several threads at once do not mix; if the canvas is in use, the image is left to `runtime.image`."""
    decoder = FastPngDecoder(image_input("L", 60, 60))
    files = {shade: png(60, 60, "L", (b"\0" + bytes([shade]) * 60) * 60) for shade in range(0, 250, 10)}
    start = threading.Barrier(4)

    def decode_in_thread(offset: int) -> None:
        start.wait()
        for round_ in range(200):
            shade = (offset + round_) % 25 * 10
            pixels = decoder.pixels(files[shade])
            assert pixels is None or (pixels.min() == pixels.max() == shade)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(decode_in_thread, offset * 7) for offset in range(4)]:
            future.result()


@pytest.mark.parametrize(
    "file",
    [
        png(7, 8, "L", bytes(8 * 8)),
        png(8, 8, "RGB", bytes(25 * 8)),
        white("L")[:-12],
        white("L")[:33] + chunk(b"tEXt", b"a\0b") + white("L")[33:],
        white("L")[:33] + chunk(b"tRNS", b"\0\0") + white("L")[33:],
        b"",
        b"\xff\xd8\xff",
    ],
)
def test_what_is_not_usual_is_left_to_the_general_way(file: bytes) -> None:
    """Another size or mode, other chunks, a missing end and other formats are not decoded here."""
    assert FastPngDecoder(image_input("L")).pixels(file) is None


def test_a_large_input_has_no_canvas() -> None:
    """For a large input no canvas is allocated, and every image is left to `runtime.image`."""
    decoder = FastPngDecoder(image_input("L", 1000, 1000))
    assert decoder._canvas.size == 1
    assert decoder.pixels(png(1000, 1000, "L", bytes(1001 * 1000))) is None
