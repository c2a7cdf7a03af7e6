"""Images: pixels are Pillow's bit for bit, as in training; limits are checked before a pixel is decoded."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput
from relevo.errors import BrokenImageError, ImageTooLargeError, InvalidInputError, UnsupportedImageError
from relevo.runtime.image import ImageLimits, decode, header_size, image_format, is_expensive, open_image, tensor

if TYPE_CHECKING:
    from pathlib import Path

RESAMPLES: tuple[Any, ...] = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
#: Formats with the modes that Pillow can write.
KINDS = [
    ("PNG", "1"),
    ("PNG", "L"),
    ("PNG", "LA"),
    ("PNG", "P"),
    ("PNG", "RGB"),
    ("PNG", "RGBA"),
    ("JPEG", "L"),
    ("JPEG", "RGB"),
    ("JPEG", "CMYK"),
    ("WEBP", "RGB"),
    ("WEBP", "RGBA"),
]
WIDE = ImageLimits()


def picture(mode: str, size: tuple[int, int] = (37, 23), seed: int = 1) -> Image.Image:
    """Noise over a ramp, so that filters and palettes have an effect."""
    width, height = size
    ramp = np.linspace(0, 200, width * height * 4).reshape(height, width, 4)
    noise = np.random.default_rng(seed).integers(0, 56, (height, width, 4))
    return Image.fromarray((ramp + noise).astype(np.uint8), "RGBA").convert("RGB" if mode == "CMYK" else mode).convert(mode)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def as_pillow(data: bytes, target: ImageInput, steps: ImageSteps) -> np.ndarray:
    """What a training script does: open, apply the orientation, convert, resize."""
    image: Image.Image = Image.open(io.BytesIO(data))
    if steps.orientation == "apply":
        image = ImageOps.exif_transpose(image)
    with warnings.catch_warnings():
        # Pillow warns about palettes with several transparent colours; the pixels are the same.
        warnings.simplefilter("ignore")
        image = image.convert(target.mode)
    if image.size != (target.width, target.height):
        image = image.resize((target.width, target.height), Image.Resampling[steps.resample.upper()])
    return np.asarray(image)


def as_keras(data: bytes, target: ImageInput, interpolation: str) -> np.ndarray:
    """`keras.utils.load_img(color_mode, target_size, interpolation)` with Pillow: no orientation; greyscale stays greyscale."""
    image: Image.Image = Image.open(io.BytesIO(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        if image.mode != target.mode:
            image = image.convert(target.mode)
    size = (target.width, target.height)
    if image.size != size:
        image = image.resize(size, {"nearest": 0, "bilinear": 2, "bicubic": 3, "hamming": 5, "box": 4, "lanczos": 1}[interpolation])
    return np.asarray(image)


# --- equal to Pillow ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("form", "stored"), KINDS)
def test_pixels_are_pillows(form: str, stored: str, mode: Any, resample: Any) -> None:
    """Every format, stored mode, expected mode and filter gives Pillow's pixels, smaller, larger and at the same size."""
    data = saved(picture(stored), form)
    steps = ImageSteps(input="x", resample=resample)
    for size in ((10, 14), (80, 60), (37, 23)):
        target = ImageInput(width=size[0], height=size[1], mode=mode)
        assert np.array_equal(decode(data, target, steps, WIDE), as_pillow(data, target, steps))


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("form", "stored"), KINDS)
def test_pixels_are_what_keras_loads(form: str, stored: str, mode: Any, resample: Any) -> None:
    """With orientation ignored the pixels are those of Keras' load_img, with the same default filter."""
    data = saved(picture(stored), form)
    target = ImageInput(width=10, height=14, mode=mode)
    steps = ImageSteps(input="x", resample=resample, orientation="ignore")
    assert np.array_equal(decode(data, target, steps, WIDE), as_keras(data, target, resample))
    assert ImageSteps(input="x").resample == "nearest"


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize(("form", "stored"), [("JPEG", "RGB"), ("PNG", "L"), ("WEBP", "RGB")])
@pytest.mark.parametrize("rule", ["apply", "ignore"])
def test_a_cameras_orientation_is_followed_or_not(form: str, stored: str, orientation: int, rule: Any) -> None:
    """All eight orientations, and two invalid ones, are applied as Pillow does, or not at all."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(stored), form, exif=exif.tobytes())
    target = ImageInput(width=16, height=12, mode="L")
    steps = ImageSteps(input="x", resample="bilinear", orientation=rule)
    assert np.array_equal(decode(data, target, steps, WIDE), as_pillow(data, target, steps))


def test_photographs_are_decoded_as_pillow_and_keras_do(real_data: Path) -> None:
    """Real photographs and radiographs, as cameras and programs saved them, give Pillow's and Keras' pixels."""
    files = [path for folder in ("cats_dogs", "xray") for path in sorted((real_data / folder).rglob("*.[jp]*g"))[::7]][:120]
    if not files:
        pytest.skip("no photographs in the real-world data")
    for path in files:
        data = path.read_bytes()
        for mode, resample in (("RGB", "nearest"), ("L", "bilinear"), ("RGB", "lanczos")):
            target = ImageInput(width=100, height=100, mode=mode)  # type: ignore[arg-type]  # one of the two
            steps = ImageSteps(input="x", resample=resample)  # type: ignore[arg-type]  # one of the six
            assert np.array_equal(decode(data, target, steps, WIDE), as_pillow(data, target, steps)), path
            as_stored = ImageSteps(input="x", resample=resample, orientation="ignore")  # type: ignore[arg-type]  # one of the six
            assert np.array_equal(decode(data, target, as_stored, WIDE), as_keras(data, target, resample)), path


def test_every_nasty_file_is_pixels_or_a_refusal(real_data: Path) -> None:
    """Hostile and broken files are rejected with an error code or decoded to Pillow's pixels."""
    folder = real_data / "nasty_images"
    if not folder.is_dir():
        pytest.skip("no nasty images in the real-world data")
    target, steps = ImageInput(width=8, height=8), ImageSteps(input="x")
    for path in sorted(entry for entry in folder.iterdir() if entry.is_file()):
        try:
            pixels = decode(path.read_bytes(), target, steps, WIDE)
        except InvalidInputError:
            continue
        assert pixels.shape == (8, 8, 3), path
        assert np.array_equal(pixels, as_pillow(path.read_bytes(), target, steps)), path


# --- limits and kinds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_limits_are_pixels_and_sides(form: str) -> None:
    """An image of exactly the limits is accepted; one pixel more, in total or along a side, is rejected with its size."""
    data = saved(picture("RGB", (40, 30)), form)
    target, steps = ImageInput(width=4, height=4), ImageSteps(input="x")
    assert decode(data, target, steps, ImageLimits(max_pixels=1200, max_side=40)).shape == (4, 4, 3)
    for limits in (ImageLimits(max_pixels=1199), ImageLimits(max_side=39)):
        with pytest.raises(ImageTooLargeError, match="40 × 30"):
            decode(data, target, steps, limits)


def test_a_claim_of_endless_pixels_costs_nothing() -> None:
    """A few bytes that claim an image of 2 ** 31 pixels a side are rejected by their header."""
    whole = saved(picture("L"), "PNG")
    header = b"IHDR" + struct.pack(">II", 2**31 - 1, 2**31 - 1) + whole[24:29]
    bomb = whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]
    with pytest.raises(ImageTooLargeError):
        decode(bomb, ImageInput(width=8, height=8), ImageSteps(input="x"), WIDE)


@pytest.mark.parametrize(
    ("form", "stored", "options"),
    [
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
        ("BMP", "L", {}),
        ("BMP", "1", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "L", {"compression": "tiff_lzw"}),
        ("TIFF", "RGBA", {"compression": "tiff_deflate"}),
        ("TIFF", "P", {"compression": "packbits"}),
        ("PPM", "L", {}),
        ("PPM", "RGB", {}),
    ],
)
def test_what_people_have_is_read(form: str, stored: str, options: dict[str, str]) -> None:
    """GIF, BMP, TIFF, PGM and PPM give Pillow's pixels, and the same limits apply to their headers."""
    data = saved(picture(stored), form, **options)
    for mode in ("L", "RGB"):
        target = ImageInput(width=11, height=9, mode=mode)
        steps = ImageSteps(input="x", resample="bilinear")
        assert np.array_equal(decode(data, target, steps, WIDE), as_pillow(data, target, steps))
    assert header_size(data) == (37, 23)
    with pytest.raises(ImageTooLargeError, match="37 × 23"):
        decode(data, target, steps, ImageLimits(max_pixels=850))
    for part in range(0, len(data), max(1, len(data) // 40)):
        with contextlib.suppress(InvalidInputError):
            decode(data[:part], target, steps, WIDE)


def test_of_an_animation_the_first_frame_counts() -> None:
    """Of a GIF and a TIFF with several frames the first is used."""
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    for form in ("GIF", "TIFF"):
        data = saved(first, form, save_all=True, append_images=[second])
        assert decode(data, ImageInput(width=8, height=8), ImageSteps(input="x"), WIDE)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("rule", ["exif", "ignore"])
def test_a_tiff_is_turned_as_a_jpeg_is(orientation: int, rule: Any) -> None:
    """Pillow applies the orientation of a TIFF while loading it; with orientation ignored, pixels stay as stored."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    target, steps = ImageInput(width=37, height=23), ImageSteps(input="x", orientation=rule)
    tiff, png = (decode(saved(picture("RGB"), form, exif=exif), target, steps, WIDE) for form in ("TIFF", "PNG"))
    assert np.array_equal(tiff, png)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: _tiff_entry(data, 259, 7), "compression"),
        (lambda data: _tiff_entry(data, 273, 2**31, count=True), "pieces"),
        (lambda data: data[:4] + struct.pack("<I", 2**32 - 1) + data[8:], "broken|damaged|cannot"),
    ],
)
def test_a_tiff_that_asks_for_much_is_refused(damage: Any, told: str) -> None:
    """Unusual compressions, very many strips and a directory beyond the file are rejected before Pillow reads them."""
    data = damage(saved(picture("RGB"), "TIFF"))
    with pytest.raises(InvalidInputError, match=told):
        decode(data, ImageInput(width=8, height=8), ImageSteps(input="x"), WIDE)


def _tiff_entry(data: bytes, tag: int, value: int, *, count: bool = False) -> bytes:
    """The same little-endian TIFF with another value, or count, in one entry of its directory."""
    (place,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, place)
    for at in range(place + 2, place + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            where = at + (4 if count else 8)
            return data[:where] + struct.pack("<I", value) + data[where + 4 :]
    raise AssertionError(tag)


def test_a_bmp_of_run_lengths_and_a_gif_of_endless_blocks_are_refused() -> None:
    """Files that Pillow would unpack in Python, byte by byte, are rejected."""
    bmp = saved(picture("L"), "BMP")
    gif = saved(picture("P"), "GIF")
    for data in (bmp[:30] + struct.pack("<I", 1) + bmp[34:], gif[:781] + b"\x21\xfe" + b"\1x" * 100_000 + b"\0" + gif[781:]):
        with pytest.raises(UnsupportedImageError):
            decode(data, ImageInput(width=8, height=8), ImageSteps(input="x"), WIDE)


# --- transparency ---------------------------------------------------------------------------------------------------------


def clear(form: str, stored: str) -> bytes:
    """An image that is red where it is opaque, and black where it is transparent."""
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 4, 8))
    if stored == "P":
        flat = image.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
        hidden = flat.getpixel((6, 6))
        return saved(flat, form, transparency=hidden)
    if stored == "RGB":
        return saved(image.convert("RGB"), form, transparency=(0, 0, 0))
    return saved(image.convert(stored), form, **({"lossless": True} if form == "WEBP" else {}))


@pytest.mark.parametrize(
    ("form", "stored"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "RGB"), ("WEBP", "RGBA"), ("GIF", "P"), ("TIFF", "RGBA")]
)
@pytest.mark.parametrize(("background", "seen"), [("white", 255), ("black", 0), ("#0a0a0a", 10), ("ignore", 0), ("", 0)])
def test_transparent_pixels_stand_on_the_background(form: str, stored: str, background: str, seen: int) -> None:
    """For every kind of transparency the background is visible; if transparency is dropped, the hidden colour."""
    steps = ImageSteps(input="x", background=background)
    pixels = decode(clear(form, stored), ImageInput(width=8, height=8), steps, WIDE)
    assert pixels[4, 6].tolist() == [seen] * 3
    assert pixels[4, 1].tolist() == [255, 0, 0]


def test_grey_with_alpha_is_mixed_with_the_background() -> None:
    """A half transparent black on white becomes a medium grey, for greyscale and colour models."""
    data = saved(Image.new("LA", (8, 8), (0, 128)), "PNG")
    for mode in ("L", "RGB"):
        pixels = decode(data, ImageInput(width=8, height=8, mode=mode), ImageSteps(input="x", background="white"), WIDE)
        assert set(pixels.ravel().tolist()) == {127}


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("form", "stored"), [("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("WEBP", "RGBA"), ("TIFF", "RGBA")])
def test_a_clear_picture_is_pasted_then_converted_then_resized(form: str, stored: str, mode: Any, resample: Any) -> None:
    """Whatever is done first to save time, the pixels are those of Pillow's paste, convert and resize in that order."""
    data = saved(
        picture(stored),
        form,
        **({"transparency": bytes(range(256))} if stored == "P" else {"lossless": True} if form == "WEBP" else {}),
    )
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    behind = Image.new("RGB", image.size, (10, 200, 90))
    behind.paste(image, mask=image.getchannel("A"))
    target = ImageInput(width=16, height=12, mode=mode)
    expected = behind.convert(mode).resize((16, 12), Image.Resampling[resample.upper()])
    steps = ImageSteps(input="x", resample=resample, background="#0ac85a")
    assert np.array_equal(decode(data, target, steps, WIDE), np.asarray(expected))


_PEAK = """
import io, resource
from PIL import Image
from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput
from relevo.runtime.image import ImageLimits, decode
file = io.BytesIO()
Image.new("RGBA", (4000, 4000)).save(file, "PNG", compress_level=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(file.getvalue(), ImageInput(width=8, height=8, mode="L"), ImageSteps(input="x", background="white"), ImageLimits())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_clear_picture_is_in_memory_once() -> None:
    """For 64 MB of pixels resized by nearest, no second copy is made for the background."""
    grown = int(subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True, timeout=60).stdout)
    assert grown < 30_000, f"{grown} KiB"


# --- large JPEGs ----------------------------------------------------------------------------------------------------------


def test_a_large_jpeg_is_decoded_small() -> None:
    """A JPEG of more than 40 million pixels takes a fraction of the memory of its pixels, and looks like a resized one."""
    image = Image.linear_gradient("L").resize((7400, 7300), Image.Resampling.BILINEAR)
    data = saved(image, "JPEG")
    target, steps = ImageInput(width=128, height=128, mode="L"), ImageSteps(input="x", resample="bilinear")
    with pytest.raises(ImageTooLargeError, match="max_pixels"):
        decode(data, target, steps, WIDE)
    pixels = decode(data, target, steps, ImageLimits(max_pixels=60_000_000))
    exact = np.asarray(image.resize((128, 128), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(pixels.astype(int) - exact).max() <= 3
    small = open_image(data, ImageLimits(max_pixels=60_000_000))
    small.draft(None, (256, 256))
    assert small.width <= 7400 // 8 + 1


@pytest.mark.parametrize("form", ["ICO", "AVIF", "JPEG2000"])
def test_other_formats_are_refused(form: str) -> None:
    """Other formats are not opened at all."""
    data = saved(picture("RGB"), form)
    with pytest.raises(UnsupportedImageError):
        image_format(data)
    with pytest.raises(UnsupportedImageError):
        decode(data, ImageInput(width=8, height=8), ImageSteps(input="x"), WIDE)


def test_sixteen_bit_pixels_are_refused() -> None:
    """A 16-bit PNG is rejected: no model was trained on its pixels reduced to 8 bits."""
    data = saved(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)), "PNG")
    with pytest.raises(UnsupportedImageError, match="8-bit"):
        decode(data, ImageInput(width=8, height=8, mode="L"), ImageSteps(input="x"), WIDE)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_that_is_cut_off_is_refused(form: str) -> None:
    """A truncated image is rejected: it would otherwise be answered with grey in place of the missing part."""
    data = saved(picture("RGB", (200, 200)), form)
    for share in (0.2, 0.5, 0.9):
        with pytest.raises((BrokenImageError, UnsupportedImageError)):
            decode(data[: int(len(data) * share)], ImageInput(width=8, height=8), ImageSteps(input="x"), WIDE)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBPVP8X", b"RIFFxxxxWEBPVP8L"]),
)
def test_bytes_that_begin_like_a_picture_are_refused(rest: bytes, start: bytes) -> None:
    """Any bytes after a valid beginning are decoded or rejected with an error code, never another exception."""
    for look in (lambda data: decode(data, ImageInput(width=8, height=8), ImageSteps(input="x"), WIDE), is_expensive):
        try:
            look(start + rest)
        except InvalidInputError:
            continue


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_large_pictures_are_known_by_their_header(form: str) -> None:
    """Images that are expensive to decode are recognised without decoding; those that will be rejected are not expensive."""
    assert is_expensive(saved(picture("RGB", (1000, 600)), form)[:3000])
    assert not is_expensive(saved(picture("RGB", (700, 700)), form))
    assert not is_expensive(b"no picture")


def test_the_header_is_judged_without_decoding() -> None:
    """open_image returns the size and mode of the image and does not load its pixels."""
    image = open_image(saved(picture("RGB", (37, 23)), "JPEG"), WIDE)
    assert (image.size, image.mode) == ((37, 23), "RGB")


# --- pixels to tensor -----------------------------------------------------------------------------------------------------


def rgb(count: int = 2) -> list[Any]:
    return [np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8) for seed in range(count)]


@pytest.mark.parametrize(
    ("layout", "shape"), [("NHWC", (2, 4, 5, 3)), ("NCHW", (2, 3, 4, 5)), ("flat", (2, 60)), ("NHW", (2, 4, 5))]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_every_layout_holds_the_same_pixels(layout: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Each layout has its shape and dtype, is contiguous, and has each pixel at its position."""
    pixels = [entry[..., 0] for entry in rgb()] if layout == "NHW" else rgb()
    made = tensor(pixels, ImageSteps(input="x", layout=layout, dtype=dtype))
    assert (made.shape, made.dtype, made.flags.c_contiguous) == (shape, np.dtype(dtype), True)
    whole = np.stack(pixels)
    expected = {"NHWC": whole, "NHW": whole, "flat": whole.reshape(2, -1)}.get(layout)
    assert np.array_equal(made, np.moveaxis(whole, -1, 1) if expected is None else expected)


def test_scale_mean_and_std_are_applied_in_float32_in_that_order() -> None:
    """A value is (x · scale − mean) ÷ std of its channel, in the tensor's own precision."""
    steps = ImageSteps(input="x", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    made = tensor(rgb(), steps)
    pixels = np.stack(rgb()).astype(np.float32)
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    expected = (pixels * np.float32(1 / 255) - mean) / std
    assert np.array_equal(made, expected)


def test_blue_green_red_turns_the_channels() -> None:
    """A model trained on BGR gets BGR."""
    assert np.array_equal(tensor(rgb(), ImageSteps(input="x", channels="BGR")), np.stack(rgb())[..., ::-1])


def test_a_picture_in_a_batch_is_the_picture_alone() -> None:
    """Stacking with other images changes no value."""
    steps = ImageSteps(input="x", scale=1 / 127.5, mean=(1.0, 1.0, 1.0))
    together = tensor(rgb(5), steps)
    for index, entry in enumerate(rgb(5)):
        assert np.array_equal(together[index : index + 1], tensor([entry], steps))
