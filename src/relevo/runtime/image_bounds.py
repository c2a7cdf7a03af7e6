"""How many pieces a picture's file is made of, judged before a decoder walks through them.

A few bytes can ask for much time and few pixels: a PNG of a million chunks and a JPEG of a million segments keep Pillow's own loops
busy for seconds, and each scan of a progressive JPEG makes the decoder walk over the whole picture. No limit on pixels sees that.

    PNG    chunks          at most 1000 and one more for each 2 KiB          programs write 8 KiB and more in a chunk
    GIF    pieces of data  at most 20,000 before the first frame's
    BMP    plain pixels    no run lengths, which are unpacked in Python
    JPEG   scans           at most 64                                        usual are 1 and 10
           header pieces   at most 4000: segments, and bytes between them

A small PNG is not looked through: it has no room for many chunks.
"""

from __future__ import annotations

import re

from relevo.errors import UnsupportedImageError
from relevo.runtime.tiff_bounds import tiff_size

_SMALL_BYTES = 16 * 1024
_CHUNKS = 1000
_BYTES_A_CHUNK = 2048
_SCANS = 64
_HEADER_PIECES = 4000
_GIF_PIECES = 20_000
_GIF_EXTENSION = 0x21
#: A frame, or the end.
_GIF_PICTURE = frozenset({0x2C, 0x3B})
#: Plain pixels, and pixels whose colours are cut by masks.
_BMP_PLAIN = frozenset({0, 3, 6})
_START_OF_SCAN = b"\xff\xda"
#: Markers after which Pillow expects no length: restarts, start, end, and those it does not know what to do with.
_BARE = frozenset({0x01, 0xC8, 0xCC, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
#: A marker among a scan's data: 0xFF is followed there by 0x00, a restart, or more 0xFF (ITU-T T.81 §B.1.1).
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_END_OF_IMAGE = 0xD9
_SCAN = 0xDA
#: Frames that are told in one pass, unless their components come one by one: baseline and extended sequential.
_SEQUENTIAL = frozenset({0xC0, 0xC1})
#: Start of frame: 0xC0 to 0xCF without tables of Huffman codes, JPEG's extensions and arithmetic coding conditions.
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def check_segment_count(data: bytes, kind: str) -> None:
    """Refuse a file of too many pieces; kind: as `image_format` gives it. Raises UnsupportedImageError, BrokenImageError."""
    if kind == "PNG":
        too_many = len(data) > _SMALL_BYTES and _has_many_chunks(data)
    elif kind == "JPEG":
        too_many = _has_many_pieces(data)
    elif kind == "GIF":
        too_many = _has_many_blocks(data)
    elif kind == "BMP":
        if bmp_size(data) and data[14:15] != b"\x0c" and int.from_bytes(data[30:34], "little") not in _BMP_PLAIN:
            raise UnsupportedImageError(reason="it is a BMP of an unusual compression")
        too_many = False
    elif kind == "TIFF":
        tiff_size(data)
        too_many = False
    else:
        # libwebp walks through its chunks in C, and a PGM or PPM has none.
        too_many = False
    if too_many:
        raise UnsupportedImageError(reason="it is made of more pieces than cameras and programs write")


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height that the first frame claims (ITU-T T.81 §B.2.2), or (0, 0) where no frame comes before the first scan."""
    at, left = 2, _HEADER_PIECES
    while at + 9 <= len(data) and left > 0:
        if data[at] == 0xFF and data[at + 1] in _FRAMES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if data[at : at + 2] == _START_OF_SCAN:
            break
        at += _step(data, at)
        left -= 1
    return 0, 0


def gif_size(data: bytes) -> tuple[int, int]:
    """Width and height of the screen (GIF89a §18)."""
    return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")


def bmp_size(data: bytes) -> tuple[int, int]:
    """Width and height; rows may be told from the top, as a negative height."""
    if data[14:15] == b"\x0c":
        return int.from_bytes(data[18:20], "little"), int.from_bytes(data[20:22], "little")
    return int.from_bytes(data[18:22], "little", signed=True), abs(int.from_bytes(data[22:26], "little", signed=True))


def _has_many_blocks(data: bytes) -> bool:
    """Walk through the extensions before the first frame, which Pillow reads in Python (GIF89a §23-26)."""
    left = _GIF_PIECES
    at = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    while at < len(data) and data[at] not in _GIF_PICTURE and left > 0:
        left -= 1
        if data[at] != _GIF_EXTENSION:
            # Pillow looks at each byte that is none of these.
            at += 1
            continue
        at += 2
        while at < len(data) and data[at] and left > 0:
            at += 1 + data[at]
            left -= 1
        at += 1
    return left <= 0


def _has_many_chunks(data: bytes) -> bool:
    left = _CHUNKS + len(data) // _BYTES_A_CHUNK
    at = 8
    while at < len(data):
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        left -= 1
        if left < 0:
            return True
    return False


def _has_many_pieces(data: bytes) -> bool:
    """Walk to the first scan as Pillow does, and count what it would loop over; then the scans, where there may be several."""
    left = _HEADER_PIECES
    at, frame = 2, -1
    while at + 1 < len(data) and data[at : at + 2] != _START_OF_SCAN:
        if data[at] == 0xFF and data[at + 1] in _FRAMES:
            frame = at
        step = _step(data, at)
        left -= 1 if data[at] == 0xFF and step > 1 else step
        at += step
        if left < 0:
            return True
    if _is_one_scan(data, frame, at):
        return False
    # Counting bytes is cheap and never too low; too high it may be, since an appended film or a thumbnail counts, too.
    return data.count(_START_OF_SCAN) > _SCANS and _has_many_scans(data, at)


def _is_one_scan(data: bytes, frame: int, scan: int) -> bool:
    """Whether the first scan is all there is: one of a sequential frame, with every component in it (ITU-T T.81 §B.2.2, §B.2.3)."""
    if frame < 0 or scan + 4 >= len(data) or data[frame + 1] not in _SEQUENTIAL:
        return False
    # What a decoder finds behind a scan of all components is an error to it and never a second pass.
    return data[scan + 4] == data[frame + 9]


def _step(data: bytes, at: int) -> int:
    """Bytes from here to the next piece: a segment, a bare marker, a fill byte, or all that is no marker."""
    if data[at] != 0xFF:
        found = data.find(b"\xff", at)
        return (found if found >= 0 else len(data)) - at
    marker = data[at + 1]
    if marker == 0xFF:
        return 1
    if marker in _BARE or marker == 0:
        return 2
    return 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)


def _has_many_scans(data: bytes, at: int) -> bool:
    """Walk from the first scan through all others of this picture and the tables between them."""
    scans = pieces = 0
    while found := _MARKER.search(data, at):
        marker = found[1][0]
        pieces += 1
        scans += marker == _SCAN
        if scans > _SCANS or pieces > _HEADER_PIECES:
            return True
        if marker == _END_OF_IMAGE:
            return False
        at = found.start() + _step(data, found.start())
    return False
