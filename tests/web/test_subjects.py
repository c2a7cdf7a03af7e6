"""Whom an input is about: a name from a header, which is no more than a pseudonym from there on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from relevo.errors import ParameterWrong
from relevo.web.subjects import Subjects, named_subject


@pytest.mark.parametrize("text", ["", " ", "x" * 201, "a\x7fb", "a\x00", "\ud800"])
def test_an_odd_subject_is_refused(text: str) -> None:
    """Nothing that could not be seen or typed names a subject, and the refusal repeats nothing of it."""
    with pytest.raises(ParameterWrong) as refused:
        named_subject(text)
    assert text.strip() not in str(refused.value) or not text.strip()


def test_a_subject_is_known_by_its_pseudonym() -> None:
    """The header's name is taken in any language, without the blanks around it; a request without one is about nobody."""
    subjects = Subjects(lambda name: f"<{name}>", None, now=lambda: datetime.now(UTC))

    def of(*headers: tuple[bytes, bytes]) -> str | None:
        return asyncio.run(subjects.of({"headers": list(headers)}))

    assert of((b"host", b"x"), (b"relevo-subject", " Íñigo 7 ".encode())) == "<Íñigo 7>"
    assert of((b"host", b"x")) is None
    with pytest.raises(ParameterWrong):
        of((b"relevo-subject", b"\xff\xfe"))
