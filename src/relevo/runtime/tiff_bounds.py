"""Checks the directories of a TIFF before a decoder reads it (TIFF 6.0 §2).

    header ─ first directory ─ EXIF, GPS ─► entries, bytes they point to ─► rejected | width, height

A small file can cost much time here too: a directory may have 65,535 entries, each pointing at the whole file, and a tile of a
single image may claim gigabytes. Accepted are classic TIFF files, uncompressed or with LZW, PackBits or deflate.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from relevo.errors import BrokenImageError, UnsupportedImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
#: Bytes per value of each entry type.
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WIDTH, _HEIGHT, _COMPRESSION = 256, 257, 259
_STRIPS_OR_TILES = frozenset({273, 279, 324, 325})  # offsets and lengths of strips or tiles
_INLINE = 4  # bytes of a value that is stored in its entry
_TILE_SIDES = (322, 323)
_DIRECTORIES = frozenset({34665, 34853, 40965})  # EXIF, GPS, interoperability
#: None, LZW, deflate (two codes), PackBits.
_ACCEPTED_COMPRESSIONS = frozenset({1, 5, 8, 32773, 32946})
_MAX_ENTRIES = 500
_MAX_STRIPS_OR_TILES = 70_000
_MAX_TILE_SIDE = 4096
#: Maximum bytes of entries, except strips and tiles, that Pillow may unpack.
_MAX_BYTES = 4 * 2**20


def tiff_size(data: bytes) -> tuple[int, int]:
    """Width and height, after checking the cost of reading the file. Raises UnsupportedImageError, BrokenImageError."""
    order = _BYTE_ORDERS.get(data[:4])
    if order is None:
        raise UnsupportedImageError(reason="it is a TIFF of an unusual kind")
    try:
        tags = _read_tags(data, order)
    except struct.error as cause:
        raise BrokenImageError from cause
    if tags.get(_COMPRESSION, 1) not in _ACCEPTED_COMPRESSIONS:
        raise UnsupportedImageError(reason="it is a TIFF of an unusual compression")
    if any(tags.get(side, 1) > _MAX_TILE_SIDE for side in _TILE_SIDES):
        raise UnsupportedImageError(reason="it is made of more pieces than cameras and programs write")
    return tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)


def _read_tags(data: bytes, order: str) -> dict[int, int]:
    """The first value of each entry in the first directory."""
    tags: dict[int, int] = {}
    entries = total_bytes = 0
    (first,) = struct.unpack_from(order + "I", data, 4)
    offsets, visited = [first], set[int]()
    while offsets:
        offset = offsets.pop()
        if offset in visited:
            continue
        visited.add(offset)
        for tag, value_type, count, value in _entries(data, order, offset):
            entries += 1
            size = _TYPE_SIZES.get(value_type, 1) * count
            is_strips_or_tiles = tag in _STRIPS_OR_TILES
            total_bytes += 0 if is_strips_or_tiles else size
            if entries > _MAX_ENTRIES or total_bytes > _MAX_BYTES or (is_strips_or_tiles and count > _MAX_STRIPS_OR_TILES):
                raise UnsupportedImageError(reason="it is made of more pieces than cameras and programs write")
            if size > _INLINE and value + size > len(data):
                # Pillow would warn, and continue without it.
                raise BrokenImageError
            if tag in _DIRECTORIES:
                offsets.append(value)
            elif offset == first:
                tags.setdefault(tag, value)
    return tags


def _entries(data: bytes, order: str, offset: int) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count, and the value or its offset, of each entry."""
    (count,) = struct.unpack_from(order + "H", data, offset)
    struct.unpack_from(order + "I", data, offset + 2 + 12 * count)
    for index in range(count):
        position = offset + 2 + 12 * index
        tag, value_type, values = struct.unpack_from(order + "HHI", data, position)
        is_short = value_type == 3 and values == 1
        (value,) = struct.unpack_from(order + ("H" if is_short else "I"), data, position + 8)
        yield tag, value_type, values, value
