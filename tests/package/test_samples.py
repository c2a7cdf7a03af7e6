"""Conversion of the user's samples to records or images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from relevo.domain.preprocessing import ImageSteps, MatrixSteps
from relevo.domain.signature import Field, FieldKind, ImageInput, RecordInput
from relevo.errors import ConversionError, InvalidOptionsError, PackageError
from relevo.package.npz import archive_bytes, array_bytes, read_archive, read_array
from relevo.package.samples import ImageSamples, RecordSamples, from_records, normalize_samples, png, ready_pixels
from relevo.package.schema_inference import infer_fields
from relevo.package.synthetic_samples import generate_samples
from relevo.runtime.image import ImageLimits, decode
from relevo.runtime.record_encoder import RecordEncoder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_png_of_ours_decodes_to_its_pixels() -> None:
    """PNG encoding of pixels is lossless, so pixels may be used in place of their PNG."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    signature = ImageInput(width=5, height=7)
    assert np.array_equal(decode(png(pixels), signature, ImageSteps(input="x"), ImageLimits()), pixels)
    ready = ready_pixels(ImageSamples(pixels=(pixels,)), signature)
    assert ready is not None
    assert ready[0] is pixels
    assert ready_pixels(ImageSamples(pixels=(pixels,)), ImageInput(width=5, height=8)) is None


def test_arrays_are_pictures_or_matrices_by_shape() -> None:
    """uint8 with three axes is images, with a last axis of one it is grey; two axes are a matrix."""
    assert isinstance(normalize_samples(np.zeros((2, 4, 5), dtype=np.uint8)), ImageSamples)
    grey = normalize_samples(np.zeros((2, 4, 5, 1), dtype=np.uint8))
    assert isinstance(grey, ImageSamples)
    assert grey.shape() == (4, 5)
    matrix = normalize_samples(np.array([[1, 2.5], [3, np.nan]]))
    assert isinstance(matrix, RecordSamples)
    assert matrix.records == ({"f0": 1.0, "f1": 2.5}, {"f0": 3.0, "f1": None})
    assert isinstance(normalize_samples([[1, 2], [3, 4]]), RecordSamples)


def test_colour_files_are_known_by_their_header(tmp_path: Path) -> None:
    """The first file defines size and colour."""
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg")
    samples = normalize_samples([str(tmp_path / "a.jpg")])
    assert isinstance(samples, ImageSamples)
    assert samples.shape() == (4, 6, 3)


@pytest.mark.parametrize("given_", [np.zeros((2, 3, 4)), np.zeros((2, 3, 4, 5), dtype=np.uint8), np.zeros(3)])
def test_other_shapes_are_refused_with_what_came(given_: Any) -> None:
    """The error names shape and type."""
    with pytest.raises(ConversionError, match="shape"):
        normalize_samples(given_)


def test_wrong_names_and_wrong_cells_are_refused() -> None:
    """Names must be unique and match the columns; values must be JSON values."""
    with pytest.raises(InvalidOptionsError, match="2 different names"):
        normalize_samples(np.zeros((3, 2)), ["a", "a"])
    with pytest.raises(ConversionError, match="list"):
        from_records([{"a": [1]}])


def test_fields_are_inferred_without_limits() -> None:
    """Infers kinds, categories, optional fields and an example; no minimum or maximum."""
    records = [{"n": 1.5, "k": number, "t": "xy"[number % 2], "b": True, "h": None if number else 1.0} for number in range(30)]
    fields = infer_fields(from_records(records))
    assert [field.kind for field in fields] == [
        FieldKind.NUMBER,
        FieldKind.INTEGER,
        FieldKind.CATEGORY,
        FieldKind.BOOLEAN,
        FieldKind.NUMBER,
    ]
    assert fields[2].categories == ("x", "y")
    assert not fields[2].restrict_to_categories
    assert [field.required for field in fields] == [True, True, True, True, False]
    assert all(field.minimum is None and field.maximum is None for field in fields)
    assert fields[1].example in range(30)


def test_few_whole_numbers_prove_no_whole_field() -> None:
    """Three integers are not enough for an integer field, which would reject 3.5."""
    assert infer_fields(from_records([{"a": 1}, {"a": 2}, {"a": 3}]))[0].kind is FieldKind.NUMBER


def test_mixed_columns_are_refused() -> None:
    """The error names a column with texts and numbers."""
    with pytest.raises(ConversionError, match="'a'"):
        infer_fields(from_records([{"a": 1}, {"a": "one"}]))


def test_generated_samples_fit_their_signature_and_never_change() -> None:
    """Generated samples pass the validation of their signature, and are deterministic."""
    record = RecordInput(
        fields=(
            Field(name="n", kind=FieldKind.NUMBER, minimum=0, maximum=1),
            Field(name="k", kind=FieldKind.INTEGER),
            Field(name="t", kind=FieldKind.CATEGORY, categories=("x", "y"), restrict_to_categories=True),
            Field(name="b", kind=FieldKind.BOOLEAN),
        )
    )
    made = generate_samples(record)
    assert isinstance(made, RecordSamples)
    encoder = RecordEncoder(record, MatrixSteps(input="x", columns=()))
    assert all(encoder.check(row) for row in made.records)
    again = generate_samples(record)
    assert isinstance(again, RecordSamples)
    assert again.records == made.records
    pictures = generate_samples(ImageInput(width=4, height=3, mode="L"), rows=2)
    assert isinstance(pictures, ImageSamples)
    assert pictures.pixels[0].shape == (3, 4)


@given(values=st.lists(st.floats(allow_nan=False), max_size=20), dtype=st.sampled_from(["f4", "f8", "i8"]))
def test_arrays_come_back_as_they_went(values: list[float], dtype: str) -> None:
    """Any array of plain numbers survives writing and reading, alone or in an archive."""
    with np.errstate(all="ignore"):
        array = np.array([value for value in values if abs(value) < 1e18], dtype=dtype)
    assert np.array_equal(read_array(array_bytes(array), "x"), array)
    assert np.array_equal(read_archive(archive_bytes({"x": array}), "x")["x"], array)


def test_arrays_that_lie_or_carry_objects_are_refused() -> None:
    """Rejects false sizes, pickled objects and random bytes, without allocating or unpickling."""
    header = array_bytes(np.zeros(3)).replace(b"(3,)", b"(3000000000000,)"[:4].ljust(4))
    huge = array_bytes(np.zeros(3)).replace(b"'shape': (3,), }            ", b"'shape': (300000000000,), } ")
    for data in (header, huge, b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00v\x00" + b"{" * 118, b"noise" * 9):
        with pytest.raises(PackageError):
            read_array(data, "x")
    with pytest.raises(PackageError):
        read_archive(b"PK\x03\x04", "x")


def test_an_example_can_be_read() -> None:
    """An example with many digits is rounded to three, a short one is unchanged."""
    fields = infer_fields(from_records([{"made_up": 0.03016352331732358, "total": 3320.75, "serial": 9_876_543_210_123}]))
    assert [field.example for field in fields] == [0.0302, 3320.75, 9_876_543_210_123]


# --- one picture, every way in ----------------------------------------------------------------------------------------------


def _turned(form: str, mode: str, orientation: int) -> bytes:
    """An image with a mark in each corner, with transparency where the mode allows it, and an EXIF orientation."""
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (6, 9, 4), dtype=np.uint8), "RGBA").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    image.save(out, form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    return out.getvalue()


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("JPEG", "RGB"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("JPEG", "L")]
)
@pytest.mark.parametrize("rule", ["exif", "ignore"])
def test_a_picture_is_the_same_by_every_way_in(tmp_path: Path, form: str, mode: str, orientation: int, rule: Any) -> None:
    """A path, bytes, an open PIL image and a loaded one give the same size and pixels as the file on the server."""
    data = _turned(form, mode, orientation)
    (tmp_path / "a").write_bytes(data)
    loaded = Image.open(io.BytesIO(data))
    if form != "TIFF":
        loaded.load()
    for stored in ("L", "RGB"):
        signature = ImageInput(width=9, height=6, mode=stored)
        steps = ImageSteps(input="x", orientation=rule, background="#204060")
        served = decode(data, signature, steps, ImageLimits())
        for given_ in (tmp_path / "a", str(tmp_path / "a"), data, Image.open(io.BytesIO(data)), loaded):
            if form == "TIFF" and rule == "ignore" and isinstance(given_, Image.Image):
                continue  # Pillow turns it while it loads it: what the user holds is upright
            samples = normalize_samples([given_])
            assert isinstance(samples, ImageSamples)
            assert np.array_equal(decode(samples.payload(0), signature, steps, ImageLimits()), served)
            upright = (9, 6) if orientation in (6, 7) and rule == "exif" else (6, 9)
            assert samples.shape(rule)[:2] == upright


def test_pixels_with_alpha_stand_on_the_background() -> None:
    """Arrays (h, w, 4), in a list or stacked, are images with transparency, like a file with it."""
    pixels = np.zeros((2, 5, 4, 4), dtype=np.uint8)
    pixels[:, :, 2:, 3] = 255
    signature, steps = ImageInput(width=4, height=5), ImageSteps(input="x", background="white")
    for given_ in (pixels, list(pixels), [Image.fromarray(array) for array in pixels]):
        samples = normalize_samples(given_)
        assert isinstance(samples, ImageSamples)
        assert decode(samples.payload(0), signature, steps, ImageLimits())[0, :, 0].tolist() == [255, 255, 0, 0]


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ([Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16))], "I;16"),
        ([Image.new("I", (4, 4), 300)], "mode I"),
        ([Image.new("F", (4, 4), 0.5)], "mode F"),
        ([np.zeros((4, 4, 3), dtype=np.float32)], "float32"),
        ([np.zeros((4, 4, 3), dtype=np.uint16)], "uint16"),
        ([np.zeros((4, 4), dtype=np.uint8), np.zeros((4, 4))], "float64"),
        (np.zeros((2, 4, 4, 3), dtype=np.float32), "float32"),
        (np.zeros((2, 4, 4), dtype=np.uint16), "uint16"),
        (["/nowhere/a.png"], "'/nowhere/a.png' cannot be read"),
        ([None, None], "NoneType"),
        ([[1, 2], [3]], "different lengths"),
        ([1, 2], "list of int"),
    ],
)
def test_samples_that_cannot_be_taken_are_refused_in_our_words(given_: Any, told: str) -> None:
    """Rejects pixels of more than 8 bits, and anything that is neither record nor image."""
    with pytest.raises(ConversionError, match=told):
        normalize_samples(given_)
