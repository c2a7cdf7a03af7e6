"""Prediction ids: UUID version 7, sorted by time."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.ids import new_id, raw, text

_MS = st.integers(0, 2**48 - 1)


@given(_MS, st.binary(min_size=10, max_size=10))
def test_version_variant_and_time_are_where_the_rfc_puts_them(unix_ms: int, entropy: bytes) -> None:
    """Any time and entropy give a UUID of version 7 and the RFC's variant, with 48 bits of time in front."""
    uuid = UUID(bytes=new_id(unix_ms, entropy))
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert uuid.int >> 80 == unix_ms


@given(_MS, _MS)
def test_ids_sort_by_time(earlier: int, later: int) -> None:
    """Of two milliseconds, the later one's id is greater, as bytes and as text."""
    if earlier == later:
        return
    first, second = sorted((earlier, later))
    assert new_id(first) < new_id(second)
    assert text(new_id(first)) < text(new_id(second))


def test_ids_of_one_millisecond_differ() -> None:
    """74 random bits distinguish ids of the same millisecond."""
    assert len({new_id(5) for _ in range(10_000)}) == 10_000


@given(st.binary(min_size=16, max_size=16))
def test_text_and_bytes_are_two_forms_of_one_id(some: bytes) -> None:
    """The text is the canonical form of a UUID and converts back to the bytes."""
    assert text(some) == str(UUID(bytes=some))
    assert raw(text(some)) == some


@given(st.text(max_size=40))
def test_what_is_no_id_is_none(some: str) -> None:
    """Any other text gives None, never an error."""
    result = raw(some)
    assert result is None or text(result) == some.lower()
