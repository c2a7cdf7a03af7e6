"""Pictures made to harm: few bytes that ask for much memory or time. Made here, so that none has to be kept in a file.

name ─► bytes      each ends in an answer or in a refusal with a code, within seconds
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _RGBA = 0, 2, 6
#: As many bytes as a request may carry by default, less what its head takes.
_MOST_BYTES = 20 * 2**20 - 4096
_LARGEST_SIDE = 6324  # squared, just below the default of 40 million pixels


def bombs() -> Iterator[tuple[str, bytes]]:
    """Every bomb with its name."""
    yield from _too_large()
    yield from _as_large_as_allowed()
    yield from _in_metadata()
    yield from _in_structure()
    yield from _cut_off()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, *, depth: int = 8, colour: int = _GREY, interlaced: bool = False) -> bytes:
    """Signature and IHDR."""
    return _SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced)))


def zeros(count: int) -> bytes:
    """So many zero bytes, deflated piece by piece."""
    packer = zlib.compressobj(9)
    piece = bytes(2**20)
    parts = [packer.compress(piece) for _ in range(count // len(piece))]
    return b"".join([*parts, packer.compress(bytes(count % len(piece))), packer.flush()])


def png(width: int, height: int, *, depth: int = 8, colour: int = _GREY, interlaced: bool = False) -> bytes:
    """A whole black PNG of that size."""
    bits = depth * {_GREY: 1, _RGB: 3, _RGBA: 4}[colour]
    rows = zeros(height * (1 + (width * bits + 7) // 8))
    return header(width, height, depth=depth, colour=colour, interlaced=interlaced) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def small_png() -> bytes:
    """A harmless PNG of 8 × 8."""
    return png(8, 8)


def picture(kind: str, side: int = 64, **options: object) -> bytes:
    """A harmless picture with something on it."""
    values = np.random.default_rng(1).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


def _too_large() -> Iterator[tuple[str, bytes]]:
    yield "png-30000x30000", png(30_000, 30_000, depth=1)
    yield "png-2147483647x2147483647", header(2**31 - 1, 2**31 - 1) + chunk(b"IDAT", zeros(100)) + chunk(b"IEND", b"")
    yield "png-1x40000000", png(1, 40_000_000, depth=1)
    yield "png-0x0", header(0, 0) + chunk(b"IEND", b"")
    lossless = struct.pack("<BI", 0x2F, 16_382 | 16_382 << 14) + bytes(64)
    yield "webp-lossless-16383x16383", _riff(b"VP8L", lossless)
    canvas = b"\x10\0\0\0" + (2**24 - 1).to_bytes(3, "little") * 2
    yield "webp-canvas-16777216x16777216", _riff(b"VP8X", canvas)
    yield "webp-canvas-says-1x1", _riff(b"VP8X", b"\x10\0\0\0" + bytes(6), _chunk_of(b"VP8L", lossless))
    yield "gif-65535x65535", b"GIF89a" + b"\xff" * 4 + b"\0\0\0," + bytes(4) + b"\xff" * 4 + b"\0\2\2\x4c\1\0;"
    yield (
        "bmp-100000x100000",
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 100, 0, 54, 40, 100_000, -100_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100),
    )
    yield "tiff-100000x100000", _tiff([], side=100_000)
    yield "ppm-99999x99999", b"P6 99999 99999 255\n" + bytes(1000)
    yield "jpeg-65500x65500", _resized_jpeg(picture("JPEG"), 65_500, 65_500)
    yield "jpeg-65500x600", _resized_jpeg(picture("JPEG"), 65_500, 600)


def _as_large_as_allowed() -> Iterator[tuple[str, bytes]]:
    side = _LARGEST_SIDE
    yield "png-largest-grey", png(side, side)
    yield "png-largest-rgba", png(side, side, colour=_RGBA)
    yield "png-largest-rgba-interlaced", png(side, side, colour=_RGBA, interlaced=True)
    yield "png-largest-strip", png(16_384, 2441, colour=_RGB)
    grey = Image.new("RGB", (side, side), (90, 120, 10))
    for kind, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {"method": 0}),
        ("WEBP", {"lossless": True, "method": 0}),
        ("GIF", {}),
        ("TIFF", {"compression": "tiff_deflate"}),
    ):
        file = io.BytesIO()
        grey.save(file, kind, **options)
        yield f"{kind.lower()}-largest-{'-'.join(options) or 'plain'}", file.getvalue()
    yield "jpeg-largest-out-of-few-bytes", _resized_jpeg(picture("JPEG"), side, side)


def _in_metadata() -> Iterator[tuple[str, bytes]]:
    start, rest = header(8, 8), small_png()[len(header(8, 8)) :]
    bomb = zeros(200 * 2**20)
    yield "png-ztxt", start + chunk(b"zTXt", b"Comment\0\0" + bomb) + rest
    yield "png-ztxt-many", start + chunk(b"zTXt", b"Comment\0\0" + zeros(2**20 - 100)) * 100 + rest
    yield "png-itxt", start + chunk(b"iTXt", b"Comment\0\1\0en\0\0" + bomb) + rest
    yield "png-iccp", start + chunk(b"iCCP", b"icc\0\0" + bomb) + rest
    yield "png-raw-exif", start + chunk(b"eXIf", b"MM\0*\0\0\0\x08" + b"\xff" * 65_000) + rest
    yield "jpeg-exif-circle", _with_segment(picture("JPEG"), 0xE1, b"Exif\0\0MM\0*\0\0\0\x08" + _circle())
    yield "jpeg-mpf-many", _with_segment(picture("JPEG"), 0xE2, b"MPF\0MM\0*\0\0\0\x08" + _many_pictures())


def _in_structure() -> Iterator[tuple[str, bytes]]:
    start, rest = header(8, 8), small_png()[len(header(8, 8)) :]
    empty = chunk(b"teSt", b"")
    room = _MOST_BYTES // len(empty) - 10
    yield "png-chunks-before", start + empty * room + rest
    yield "png-chunks-after", small_png()[:-12] + empty * room + chunk(b"IEND", b"")
    yield "png-pieces", _png_in_pieces()
    yield "png-long-tail", small_png() + bytes(_MOST_BYTES - 1000)
    yield "apng", picture_of_frames("PNG")
    yield "webp-animated", picture_of_frames("WEBP")
    usual = picture("JPEG")
    yield "jpeg-segments", usual[:2] + b"\xff\xfe\0\2" * ((_MOST_BYTES - len(usual)) // 4) + usual[2:]
    yield "jpeg-fill-bytes", usual[:2] + b"\xff" * (_MOST_BYTES - len(usual)) + usual[2:]
    yield "jpeg-scans", _many_scans(_LARGEST_SIDE, 3000)
    yield "jpeg-scans-small", _many_scans(700, 100_000)
    hidden = _with_segment(_many_scans(_LARGEST_SIDE, 3000), 0xE1, b"Exif\0\0" + picture("JPEG"))
    yield "jpeg-scans-behind-a-thumbnail", hidden
    yield "jpeg-scans-one-component-each", _sequential_scans(components=1, scans=30_000)
    yield "jpeg-scans-all-components-each", _sequential_scans(components=3, scans=30_000)
    yield "gif-blocks", _gif_blocks()
    yield "gif-animated", picture_of_frames("GIF")
    yield "tiff-entries", _tiff([(tag, 7, _MOST_BYTES - 2**20, 8) for tag in range(60_000, 65_000)])
    yield "tiff-strips", _tiff([(273, 4, 4_000_000, 8), (279, 4, 4_000_000, 8)])
    yield "tiff-tile-of-gigabytes", _tiff([(322, 4, 1, 2**31 - 16), (323, 4, 1, 2**31 - 16), (324, 4, 1, 8), (325, 4, 1, 100)])
    yield "tiff-directory-within-itself", _tiff([(34665, 4, 1, 8)])
    yield "bmp-run-lengths", _bmp_run_lengths()
    yield "ppm-read-in-python", b"P3 6000 6000 255\n" + b"1 " * (_MOST_BYTES // 2 - 100)
    yield "ppm-sixteen-bits", b"P5 3000 3000 65535\n" + bytes(18_000_000)
    yield "webp-chunks", _riff(b"VP8X", b"\0\0\0\0" + b"\7\0\0" * 2, _chunk_of(b"teSt", b"") * 1_000_000 + _webp_body())


def _cut_off() -> Iterator[tuple[str, bytes]]:
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        whole = picture(kind)
        for part in (1, 5, 12, 20, 30, 60, len(whole) // 2, len(whole) - 1):
            yield f"{kind.lower()}-cut-at-{part}", whole[:part]
        for place in range(0, len(whole), max(len(whole) // 12, 1)):
            yield f"{kind.lower()}-flipped-at-{place}", whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]


def picture_of_frames(kind: str, frames: int = 500) -> bytes:
    """An animation."""
    first, *others = (Image.new("RGB", (64, 64), (index % 256, 0, index // 256)) for index in range(frames))
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=others)
    return file.getvalue()


def _gif_blocks() -> bytes:
    """Ten million comments of one byte before the frame."""
    whole = picture("GIF")
    head = 13 + (3 << (whole[10] & 7) + 1)
    return whole[:head] + b"\x21\xfe" + b"\1x" * ((_MOST_BYTES - len(whole)) // 2 - 10) + b"\0" + whole[head:]


def _tiff(entries: list[tuple[int, int, int, int]], side: int = 64) -> bytes:
    """A TIFF of one grey strip with these entries too, in a file as long as may be."""
    usual = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: side, 279: 4096}
    own = {entry[0] for entry in entries}
    every = sorted([(tag, 4, 1, value) for tag, value in usual.items() if tag not in own] + entries)
    body = b"".join(struct.pack("<HHII", *entry) for entry in every)
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(every)) + body + bytes(4)
    return head + bytes(_MOST_BYTES - len(head))


def _bmp_run_lengths() -> bytes:
    """Runs of one pixel each, which Pillow would unpack in Python."""
    head = struct.pack("<IIIIiiHHIIIIII", 0, 0, 1078, 40, _LARGEST_SIDE, _LARGEST_SIDE, 1, 8, 1, 0, 0, 0, 0, 0)
    return b"BM" + head + bytes(1024) + b"\1\7" * ((_MOST_BYTES - 1100) // 2)


def _riff(kind: bytes, data: bytes, rest: bytes = b"") -> bytes:
    body = b"WEBP" + _chunk_of(kind, data) + rest
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk_of(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _webp_body() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "WEBP", lossless=True)
    return file.getvalue()[12:]


def _resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """The same few bytes of picture under a frame header that claims another size."""
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def _with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


def _circle() -> bytes:
    """A directory of EXIF whose sub-directory is itself."""
    return struct.pack(">HHHIII", 1, 0x8769, 4, 1, 8, 8)


def _many_pictures() -> bytes:
    """An index that promises four billion pictures."""
    entries = struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2**32 - 1)
    return struct.pack(">H", 3) + entries + struct.pack(">HHII", 0xB002, 7, 60_000, 50) + bytes(4)


def _png_in_pieces() -> bytes:
    """Half a million pixels, each chunk of which carries one byte."""
    side = 1150
    stream = b"\x78\x01" + b"".join(_stored(bytes(1 + side), last=row == side - 1) for row in range(side))
    stream += struct.pack(">I", zlib.adler32(bytes((1 + side) * side)))
    pieces = b"".join(chunk(b"IDAT", stream[place : place + 1]) for place in range(len(stream)))
    return header(side, side) + pieces + chunk(b"IEND", b"")


def _stored(data: bytes, *, last: bool) -> bytes:
    return struct.pack("<BHH", int(last), len(data), len(data) ^ 0xFFFF) + data


def _many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each costs the decoder a walk over the whole picture."""
    file = io.BytesIO()
    Image.new("L", (side, side), 128).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    last = whole.rindex(b"\xff\xda")
    scan = whole[last:-2]
    return whole[:-2] + scan * min(scans, (_MOST_BYTES - len(whole)) // len(scan)) + whole[-2:]


def _sequential_scans(*, components: int, scans: int) -> bytes:
    """A baseline JPEG whose scans, of one component or of all three, come again and again: the decoder takes the former only."""
    whole = _resized_jpeg(picture("JPEG"), _LARGEST_SIDE, _LARGEST_SIDE)
    tables = {1: b"\0", 2: b"\x11", 3: b"\x11"}
    groups = [(1, 2, 3)] if components == 3 else [(1,), (2,), (3,)]
    described = [b"".join(bytes([one]) + tables[one] for one in group) for group in groups]
    scan = b"".join(
        b"\xff\xda" + struct.pack(">HB", 6 + len(text), len(text) // 2) + text + b"\0\x3f\0" + b"\x55" * 4 for text in described
    )
    return whole[: whole.index(b"\xff\xda")] + scan * scans + b"\xff\xd9"
