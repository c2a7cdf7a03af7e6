"""Is a universal binary JSON file of XGBoost's whole? Asked before the library reads it, which trusts every length it finds.

    { key value … }    [#L n value …]    [$type #L n raw…]    S L n text    a number of 1 to 8 bytes

Only the marks are followed, with a stack of our own and never past the end; what the values mean is the library's business.
Source: the UBJSON specification, draft 12, with the 64-bit lengths that XGBoost writes.
"""

from __future__ import annotations

from relevo.errors import ConversionError

#: Bytes behind each mark of one value.
_SIZES = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8, b"d": 4, b"D": 8, b"C": 1, b"T": 0, b"F": 0, b"Z": 0, b"N": 0}
_LENGTHS = frozenset(b"iUIlL")
_DEEPEST = 64


def require_whole_ubjson(data: bytes) -> None:
    """Walk over every mark to the end. Raises ConversionError where one leads past the end, or something stands behind it."""
    cursor = _Cursor(data)
    cursor.take_mark(b"{")
    #: One entry an open container: how many values are still to come, or None for an object, which ends with its brace.
    open_ones: list[int | None] = [None]
    while open_ones:
        left = open_ones[-1]
        if left == 0 or (left is None and cursor.passed(b"}")):
            open_ones.pop()
            continue
        if left is None:
            cursor.skip(cursor.length())
        else:
            open_ones[-1] = left - 1
        if (opened := _value(cursor)) is not _SINGLE:
            open_ones.append(opened)
        if len(open_ones) > _DEEPEST:
            raise _torn("nested too deep")
    if cursor.at != len(data):
        raise _torn("something stands behind its end")


_SINGLE = -1


def _value(cursor: _Cursor) -> int | None:
    """Pass over one value, or over the head of a container; how many values that holds, None for an object."""
    mark = cursor.take()
    if mark == b"{":
        return None
    if mark == b"[":
        return _array(cursor)
    cursor.skip(cursor.length() if mark == b"S" else _size(mark))
    return _SINGLE


def _array(cursor: _Cursor) -> int:
    typed = cursor.take() if cursor.passed(b"$") else b""
    cursor.take_mark(b"#")
    count = cursor.length()
    if not typed:
        return count
    cursor.skip(count * _size(typed))
    return _SINGLE


def _size(mark: bytes) -> int:
    if mark not in _SIZES:
        raise _torn("an unknown mark")
    return _SIZES[mark]


class _Cursor:
    """A place in the bytes that never leaves them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def skip(self, many: int) -> bytes:
        if many < 0 or many > len(self._data) - self.at:
            raise _torn("it ends too soon")
        self.at += many
        return self._data[self.at - many : self.at]

    def take(self) -> bytes:
        return self.skip(1)

    def take_mark(self, mark: bytes) -> None:
        if self.take() != mark:
            raise _torn("a mark is missing")

    def passed(self, mark: bytes) -> bool:
        found = self._data[self.at : self.at + 1] == mark
        self.at += found
        return found

    def length(self) -> int:
        mark = self.take()
        if mark[0] not in _LENGTHS:
            raise _torn("a length is missing")
        return int.from_bytes(self.skip(_SIZES[mark]), "big", signed=mark != b"U")


def _torn(why: str) -> ConversionError:
    return ConversionError(reason=f"it is no whole UBJSON file of XGBoost's: {why}")
