"""Checks that an XGBoost UBJSON file is complete before the library reads it, because the library trusts every length in it.

    { key value … }    [#L n value …]    [$type #L n raw…]    S L n text    a number of 1 to 8 bytes

Only the type markers and lengths are checked, with an explicit stack and never past the end; values are left to the library.
Source: the UBJSON specification, draft 12, with the 64-bit lengths that XGBoost writes.
"""

from __future__ import annotations

from relevo.errors import ConversionError

#: Bytes that follow the marker of a single value.
_SIZES = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8, b"d": 4, b"D": 8, b"C": 1, b"T": 0, b"F": 0, b"Z": 0, b"N": 0}
_LENGTHS = frozenset(b"iUIlL")
_MAX_DEPTH = 64


def require_whole_ubjson(data: bytes) -> None:
    """Walks over every marker to the end. Raises ConversionError when a length exceeds the file, or bytes follow the end."""
    cursor = _Cursor(data)
    cursor.expect(b"{")
    #: One entry for each open container: how many values remain, or None for an object, which ends with its brace.
    open_containers: list[int | None] = [None]
    while open_containers:
        remaining = open_containers[-1]
        if remaining == 0 or (remaining is None and cursor.skip_if(b"}")):
            open_containers.pop()
            continue
        if remaining is None:
            cursor.skip(cursor.length())
        else:
            open_containers[-1] = remaining - 1
        if (opened := _value(cursor)) is not _SINGLE:
            open_containers.append(opened)
        if len(open_containers) > _MAX_DEPTH:
            raise _damaged("nested too deep")
    if cursor.position != len(data):
        raise _damaged("something stands behind its end")


_SINGLE = -1


def _value(cursor: _Cursor) -> int | None:
    """Skips one value, or the header of a container; returns the container's number of values, None for an object."""
    marker = cursor.take()
    if marker == b"{":
        return None
    if marker == b"[":
        return _array(cursor)
    cursor.skip(cursor.length() if marker == b"S" else _value_size(marker))
    return _SINGLE


def _array(cursor: _Cursor) -> int:
    value_type = cursor.take() if cursor.skip_if(b"$") else b""
    cursor.expect(b"#")
    count = cursor.length()
    if not value_type:
        return count
    cursor.skip(count * _value_size(value_type))
    return _SINGLE


def _value_size(marker: bytes) -> int:
    if marker not in _SIZES:
        raise _damaged("an unknown mark")
    return _SIZES[marker]


class _Cursor:
    """A read position that stays within the bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def skip(self, count: int) -> bytes:
        if count < 0 or count > len(self._data) - self.position:
            raise _damaged("it ends too soon")
        self.position += count
        return self._data[self.position - count : self.position]

    def take(self) -> bytes:
        return self.skip(1)

    def expect(self, marker: bytes) -> None:
        if self.take() != marker:
            raise _damaged("a mark is missing")

    def skip_if(self, marker: bytes) -> bool:
        matches = self._data[self.position : self.position + 1] == marker
        self.position += matches
        return matches

    def length(self) -> int:
        marker = self.take()
        if marker[0] not in _LENGTHS:
            raise _damaged("a length is missing")
        return int.from_bytes(self.skip(_SIZES[marker]), "big", signed=marker != b"U")


def _damaged(detail: str) -> ConversionError:
    return ConversionError(reason=f"it is no whole UBJSON file of XGBoost's: {detail}")
