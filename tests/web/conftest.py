"""Fixtures of the web room: a world, where it listens, and a caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.identity_provider import IdentityProvider, identity_provider
from tests.support.login import add, signed_in
from tests.support.web_app import CHURN, DIGITS, RENT, World, build_world, served

from relevo.testing import memory_store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def world() -> Iterator[World]:
    """Three models: pictures of digits, records of customers, and a regression."""
    with memory_store() as store:
        yield build_world(store, [DIGITS, CHURN, RENT])


@pytest.fixture
def address(world: World) -> Iterator[str]:
    """Where the world listens."""
    with served(world.app) as where:
        yield where


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    """A caller of the whole app over a real connection."""
    with httpx.Client(base_url=address, timeout=10) as caller:
        yield caller


@pytest.fixture
def ana(world: World) -> str:
    """The first admin; gives her id."""
    return add(world, "ana")


@pytest.fixture
def admin(address: str, ana: str) -> Iterator[httpx.Client]:
    """Ana, signed in."""
    assert ana
    with signed_in(address, "ana") as caller:
        yield caller


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    """Where people sign in who have no password here."""
    with identity_provider() as it:
        yield it
