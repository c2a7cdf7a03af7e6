"""What a TIFF claims, read off its directories before a decoder walks through them (TIFF 6.0 §2).

    head ─ first directory ─ EXIF, GPS ─► entries, bytes they point to ─► refused | width, height

A few bytes can ask for much here too: a directory may hold 65,535 entries, each pointing at the whole file, and a tile of one
picture may claim gigabytes. Taken are classic TIFF files, stored plainly or by LZW, PackBits or deflate.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from relevo.errors import BrokenImageError, UnsupportedImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ORDER = {b"II*\0": "<", b"MM\0*": ">"}
#: Bytes of one value of each kind of entry.
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WIDTH, _HEIGHT, _COMPRESSION = 256, 257, 259
_PIECES = frozenset({273, 279, 324, 325})  # where strips or tiles lie, and how long they are
_INLINE = 4  # bytes of a value that stands in its entry
_TILE_SIDES = (322, 323)
_DIRECTORIES = frozenset({34665, 34853, 40965})  # EXIF, GPS, interoperability
#: None, LZW, deflate (two numbers for it), PackBits.
_PLAIN = frozenset({1, 5, 8, 32773, 32946})
_MOST_ENTRIES = 500
_MOST_PIECES = 70_000
_MOST_TILE = 4096
#: What Pillow may unpack of entries besides strips.
_MOST_BYTES = 4 * 2**20


def tiff_size(data: bytes) -> tuple[int, int]:
    """Width and height, after checking what it would take to read the file. Raises UnsupportedImageError, BrokenImageError."""
    order = _ORDER.get(data[:4])
    if order is None:
        raise UnsupportedImageError(reason="it is a TIFF of an unusual kind")
    try:
        facts = _facts(data, order)
    except struct.error as cause:
        raise BrokenImageError from cause
    if facts.get(_COMPRESSION, 1) not in _PLAIN:
        raise UnsupportedImageError(reason="it is a TIFF of an unusual compression")
    if any(facts.get(side, 1) > _MOST_TILE for side in _TILE_SIDES):
        raise UnsupportedImageError(reason="it is made of more pieces than cameras and programs write")
    return facts.get(_WIDTH, 0), facts.get(_HEIGHT, 0)


def _facts(data: bytes, order: str) -> dict[int, int]:
    """The first value of each entry of the first directory."""
    facts: dict[int, int] = {}
    entries = weight = 0
    (first,) = struct.unpack_from(order + "I", data, 4)
    places, seen = [first], set[int]()
    while places:
        place = places.pop()
        if place in seen:
            continue
        seen.add(place)
        for tag, kind, count, value in _entries(data, order, place):
            entries += 1
            size = _BYTES.get(kind, 1) * count
            pieces = tag in _PIECES
            weight += 0 if pieces else size
            if entries > _MOST_ENTRIES or weight > _MOST_BYTES or (pieces and count > _MOST_PIECES):
                raise UnsupportedImageError(reason="it is made of more pieces than cameras and programs write")
            if size > _INLINE and value + size > len(data):
                # Pillow would warn, and go on without it.
                raise BrokenImageError
            if tag in _DIRECTORIES:
                places.append(value)
            elif place == first:
                facts.setdefault(tag, value)
    return facts


def _entries(data: bytes, order: str, place: int) -> Iterator[tuple[int, int, int, int]]:
    """Tag, kind, count and the value, or where it lies, of each entry."""
    (count,) = struct.unpack_from(order + "H", data, place)
    struct.unpack_from(order + "I", data, place + 2 + 12 * count)
    for index in range(count):
        at = place + 2 + 12 * index
        tag, kind, many = struct.unpack_from(order + "HHI", data, at)
        short = kind == 3 and many == 1
        (value,) = struct.unpack_from(order + ("H" if short else "I"), data, at + 8)
        yield tag, kind, many, value
