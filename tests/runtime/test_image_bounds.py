"""Files with very many segments are rejected before a decoder iterates over them; files of cameras and programs are not."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from tests.support.image_bombs import bombs, picture

from relevo.errors import UnsupportedImageError
from relevo.runtime.image import ImageLimits, open_image
from relevo.runtime.image_bounds import check_segment_count, jpeg_size

if TYPE_CHECKING:
    from pathlib import Path

_BOMBS = (
    "png-chunks-before",
    "png-chunks-after",
    "png-pieces",
    "jpeg-segments",
    "jpeg-fill-bytes",
    "jpeg-scans",
    "jpeg-scans-small",
    "jpeg-scans-behind-a-thumbnail",
    "jpeg-scans-one-component-each",
)


_LEFT_TO_THE_DECODER = "jpeg-scans-all-components-each"


@pytest.fixture(scope="module")
def hostile() -> dict[str, bytes]:
    return {name: data for name, data in bombs() if name in {*_BOMBS, _LEFT_TO_THE_DECODER}}


@pytest.mark.parametrize("name", _BOMBS)
def test_a_file_of_very_many_pieces_is_refused_at_once(hostile: dict[str, bytes], name: str) -> None:
    """Very many chunks, segments, fill bytes or scans are counted instead of decoded."""
    begin = time.perf_counter()
    with pytest.raises(UnsupportedImageError, match="pieces"):
        open_image(hostile[name], ImageLimits())
    assert time.perf_counter() - begin < 1


def test_scans_that_a_decoder_refuses_are_left_to_it(hostile: dict[str, bytes]) -> None:
    """After a scan with all components there is no second pass, so counting would only cost time; decoding soon ends by itself."""
    begin = time.perf_counter()
    with pytest.raises(OSError, match="broken"):
        open_image(hostile[_LEFT_TO_THE_DECODER], ImageLimits()).load()
    assert time.perf_counter() - begin < 3


@pytest.mark.parametrize("side", [8, 300, 2000])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"restart_marker_blocks": 1}), ("WEBP", {})],
)
def test_what_programs_write_is_taken(kind: str, options: dict[str, object], side: int) -> None:
    """Usual files of any size are not rejected for their structure."""
    check_segment_count(picture(kind, side, **options), kind)


def test_what_is_appended_to_a_jpeg_does_not_count() -> None:
    """A phone appends a video to a photograph; some of its bytes look like scans."""
    photograph = picture("JPEG", 300, progressive=True)
    check_segment_count(photograph + b"\xff\xda\0\4film" * 1000, "JPEG")


def test_a_thumbnail_s_scans_do_not_count() -> None:
    """The scans of a progressive thumbnail in the header do not count as the image's own."""
    file = io.BytesIO()
    Image.new("RGB", (300, 300)).save(file, "JPEG", exif=b"Exif\0\0" + b"\xff\xda" * 500)
    check_segment_count(file.getvalue(), "JPEG")


def test_real_photographs_are_taken(real_data: Path) -> None:
    """Real photographs are not rejected for their structure."""
    paths = [*real_data.glob("cats_dogs/**/*.jpg"), *real_data.glob("xray/**/*.jp*g")]
    for path in paths:
        check_segment_count(path.read_bytes(), "JPEG")
    assert len(paths) > 1000


def test_a_jpeg_s_size_is_what_pillow_reads(real_data: Path) -> None:
    """The size read from the frame header equals Pillow's, for real photographs and generated ones; without a frame it is (0, 0)."""
    paths = [*real_data.glob("cats_dogs/**/*.jpg"), *real_data.glob("xray/**/*.jp*g")]
    hostile = [picture("JPEG", side, **options) for side in (8, 300) for options in ({}, {"progressive": True})]
    for data in [*hostile, *(path.read_bytes() for path in paths)]:
        assert jpeg_size(data) == Image.open(io.BytesIO(data)).size
    assert jpeg_size(hostile[0][:12]) == jpeg_size(b"") == (0, 0)
