"""Data subjects: read from a header, replaced by a pseudonym."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from sqlalchemy import text
from tests.support.web_app import prediction

from relevo.errors import DatabaseUnavailableError, InvalidParameterError
from relevo.store.db.engine import write_transaction
from relevo.store.encryption import InputEncryption
from relevo.testing import memory_store
from relevo.web.predict.subjects import SubjectResolver, validate_subject

if TYPE_CHECKING:
    import httpx
    from tests.support.web_app import World


@pytest.mark.parametrize("text", ["", " ", "x" * 201, "a\x7fb", "a\x00", "\ud800"])
def test_an_odd_subject_is_refused(text: str) -> None:
    """Subjects with unprintable characters are rejected; the error does not repeat them."""
    with pytest.raises(InvalidParameterError) as refused:
        validate_subject(text)
    assert text.strip() not in str(refused.value) or not text.strip()


def test_a_subject_is_known_by_its_pseudonym() -> None:
    """The header may be in any script, with blanks around it; without it there is no subject."""
    subjects = SubjectResolver(lambda name: f"<{name}>", None, now=lambda: datetime.now(UTC))

    def of(*headers: tuple[bytes, bytes]) -> str | None:
        return asyncio.run(subjects.of({"headers": list(headers)}))

    assert of((b"host", b"x"), (b"relevo-subject", " Íñigo 7 ".encode())) == "<Íñigo 7>"
    assert of((b"host", b"x")) is None
    assert of((b"relevo-subject", "Pérez".encode("latin-1"))) == of((b"relevo-subject", "Pérez".encode())) == "<Pérez>"
    with pytest.raises(InvalidParameterError):
        of((b"relevo-subject", b"\xff\x81"))


def test_a_subjects_key_is_at_hand_before_its_request_goes_on() -> None:
    """With encryption the subject key is loaded once; without the database, a new subject is rejected."""
    pytest.importorskip("cryptography", reason="sealing is an extra")
    with memory_store() as store:
        encryption = InputEncryption(store.engine, bytes(32))
        subjects = SubjectResolver(store.erasure.pseudonymize, encryption, now=lambda: datetime.now(UTC))
        known = asyncio.run(subjects.of({"headers": [(b"relevo-subject", b"ana")]}))
        assert known is not None
        assert encryption.is_ready(known)
        with write_transaction(store.engine) as connection:
            connection.execute(text("DROP TABLE data_keys"))
        assert asyncio.run(subjects.of({"headers": [(b"relevo-subject", b"ana")]})) == known
        with pytest.raises(DatabaseUnavailableError):
            asyncio.run(subjects.of({"headers": [(b"relevo-subject", b"eva")]}))


@pytest.mark.parametrize("name", ["patient 4711", "ward/3", "https://example.org/people/7?a=1#b", "50% / Íñigo", "a//b/", "./.."])
def test_whoever_may_be_named_can_be_erased(world: World, client: httpx.Client, name: str) -> None:
    """Any valid subject can be erased, with slashes, signs or blanks in it."""
    assert validate_subject(name) == name
    world.store.predictions.insert([prediction(subject=world.store.erasure.pseudonymize(name))])
    response = client.delete(f"/subjects/{quote(name, safe='')}")
    assert (response.status_code, response.json()["predictions"], world.store.predictions.count()) == (200, 1, 0)
