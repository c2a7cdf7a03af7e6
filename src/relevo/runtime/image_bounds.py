"""Limits the number of segments in an image file, before a decoder iterates over them.

A small file with few pixels can cost much time: a PNG of a million chunks or a JPEG of a million segments keeps Pillow's own loops
busy for seconds, and each scan of a progressive JPEG makes the decoder process the whole image. A pixel limit does not detect this.

    PNG    chunks          at most 1000, plus one per 2 KiB                  programs write chunks of 8 KiB and more
    GIF    data blocks     at most 20,000 before those of the first frame
    BMP    compression     no run-length encoding, which is unpacked in Python
    JPEG   scans           at most 64                                        usually 1 or 10
           header          at most 4000 segments and bytes between them

A small PNG is not checked: it has no space for many chunks.
"""

from __future__ import annotations

import re

from relevo.errors import UnsupportedImageError
from relevo.runtime.tiff_bounds import tiff_size

_SMALL_BYTES = 16 * 1024
_MAX_CHUNKS = 1000
_MIN_CHUNK_BYTES = 2048
_MAX_SCANS = 64
_MAX_HEADER_ITEMS = 4000
_MAX_GIF_BLOCKS = 20_000
_GIF_EXTENSION = 0x21
#: Image descriptor or trailer.
_GIF_IMAGE_OR_TRAILER = frozenset({0x2C, 0x3B})
#: Uncompressed pixels, and pixels with colour masks.
_BMP_UNCOMPRESSED = frozenset({0, 3, 6})
_START_OF_SCAN = b"\xff\xda"
#: Markers without a length for Pillow: restarts, start, end, and unknown ones.
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, 0xC8, 0xCC, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
#: A marker within the data of a scan: there, 0xFF is followed by 0x00, a restart, or more 0xFF (ITU-T T.81 §B.1.1).
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_END_OF_IMAGE = 0xD9
_START_OF_SCAN_MARKER = 0xDA
#: Frames with a single scan, unless each component has its own: baseline and extended sequential.
_SEQUENTIAL_FRAMES = frozenset({0xC0, 0xC1})
#: Start of frame: 0xC0 to 0xCF except Huffman tables, JPEG extensions and arithmetic coding conditions.
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def check_segment_count(data: bytes, kind: str) -> None:
    """Reject a file with too many segments; kind: as `image_format` returns it. Raises UnsupportedImageError, BrokenImageError."""
    if kind == "PNG":
        too_many = len(data) > _SMALL_BYTES and _has_many_chunks(data)
    elif kind == "JPEG":
        too_many = _has_many_segments(data)
    elif kind == "GIF":
        too_many = _has_many_blocks(data)
    elif kind == "BMP":
        if bmp_size(data) and data[14:15] != b"\x0c" and int.from_bytes(data[30:34], "little") not in _BMP_UNCOMPRESSED:
            raise UnsupportedImageError(reason="it is a BMP of an unusual compression")
        too_many = False
    elif kind == "TIFF":
        tiff_size(data)
        too_many = False
    else:
        # libwebp iterates over its chunks in C, and a PGM or PPM has none.
        too_many = False
    if too_many:
        raise UnsupportedImageError(reason="it is made of more pieces than cameras and programs write")


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of the first frame header (ITU-T T.81 §B.2.2), or (0, 0) if there is none before the first scan."""
    pos, budget = 2, _MAX_HEADER_ITEMS
    while pos + 9 <= len(data) and budget > 0:
        if data[pos] == 0xFF and data[pos + 1] in _START_OF_FRAME:
            return int.from_bytes(data[pos + 7 : pos + 9], "big"), int.from_bytes(data[pos + 5 : pos + 7], "big")
        if data[pos : pos + 2] == _START_OF_SCAN:
            break
        pos += _item_length(data, pos)
        budget -= 1
    return 0, 0


def gif_size(data: bytes) -> tuple[int, int]:
    """Width and height of the logical screen (GIF89a §18)."""
    return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")


def bmp_size(data: bytes) -> tuple[int, int]:
    """Width and height; a negative height means rows from top to bottom."""
    if data[14:15] == b"\x0c":
        return int.from_bytes(data[18:20], "little"), int.from_bytes(data[20:22], "little")
    return int.from_bytes(data[18:22], "little", signed=True), abs(int.from_bytes(data[22:26], "little", signed=True))


def _has_many_blocks(data: bytes) -> bool:
    """Counts the extension blocks before the first frame, which Pillow reads in Python (GIF89a §23-26)."""
    budget = _MAX_GIF_BLOCKS
    pos = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    while pos < len(data) and data[pos] not in _GIF_IMAGE_OR_TRAILER and budget > 0:
        budget -= 1
        if data[pos] != _GIF_EXTENSION:
            # Pillow examines each byte that is neither of these.
            pos += 1
            continue
        pos += 2
        while pos < len(data) and data[pos] and budget > 0:
            pos += 1 + data[pos]
            budget -= 1
        pos += 1
    return budget <= 0


def _has_many_chunks(data: bytes) -> bool:
    budget = _MAX_CHUNKS + len(data) // _MIN_CHUNK_BYTES
    pos = 8
    while pos < len(data):
        pos += 12 + int.from_bytes(data[pos : pos + 4], "big")
        budget -= 1
        if budget < 0:
            return True
    return False


def _has_many_segments(data: bytes) -> bool:
    """Counts the header segments up to the first scan as Pillow iterates over them; then the scans, if there may be several."""
    budget = _MAX_HEADER_ITEMS
    pos, frame = 2, -1
    while pos + 1 < len(data) and data[pos : pos + 2] != _START_OF_SCAN:
        if data[pos] == 0xFF and data[pos + 1] in _START_OF_FRAME:
            frame = pos
        length = _item_length(data, pos)
        budget -= 1 if data[pos] == 0xFF and length > 1 else length
        pos += length
        if budget < 0:
            return True
    if _has_one_scan(data, frame, pos):
        return False
    # Counting bytes is cheap and never too low; it may be too high because of an appended video or a thumbnail.
    return data.count(_START_OF_SCAN) > _MAX_SCANS and _has_many_scans(data, pos)


def _has_one_scan(data: bytes, frame: int, scan: int) -> bool:
    """Whether the image has one scan: that of a sequential frame with all components (ITU-T T.81 §B.2.2, §B.2.3)."""
    if frame < 0 or scan + 4 >= len(data) or data[frame + 1] not in _SEQUENTIAL_FRAMES:
        return False
    # After a scan with all components, a decoder treats another scan as an error and never as a second pass.
    return data[scan + 4] == data[frame + 9]


def _item_length(data: bytes, pos: int) -> int:
    """Bytes to the next item: the length of a segment, a bare marker, a fill byte, or a run of bytes without a marker."""
    if data[pos] != 0xFF:
        next_marker = data.find(b"\xff", pos)
        return (next_marker if next_marker >= 0 else len(data)) - pos
    marker = data[pos + 1]
    if marker == 0xFF:
        return 1
    if marker in _MARKERS_WITHOUT_LENGTH or marker == 0:
        return 2
    return 2 + max(int.from_bytes(data[pos + 2 : pos + 4], "big"), 2)


def _has_many_scans(data: bytes, pos: int) -> bool:
    """Counts all scans of this image, starting at the first one, and the tables between them."""
    scans = markers = 0
    while match := _MARKER.search(data, pos):
        marker = match[1][0]
        markers += 1
        scans += marker == _START_OF_SCAN_MARKER
        if scans > _MAX_SCANS or markers > _MAX_HEADER_ITEMS:
            return True
        if marker == _END_OF_IMAGE:
            return False
        pos = match.start() + _item_length(data, match.start())
    return False
