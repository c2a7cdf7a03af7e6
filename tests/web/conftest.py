"""Fixtures of the web tests: a world, its address, and clients."""

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
    """Three models: an image classifier, a record classifier and a regression."""
    with memory_store() as store:
        yield build_world(store, [DIGITS, CHURN, RENT])


@pytest.fixture
def address(world: World) -> Iterator[str]:
    """Base URL of the world."""
    with served(world.app) as where:
        yield where


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    """A client of the whole app over a real connection."""
    with httpx.Client(base_url=address, timeout=10) as caller:
        yield caller


@pytest.fixture
def ana(world: World) -> str:
    """Creates the first admin; returns her id."""
    return add(world, "ana")


@pytest.fixture
def admin(address: str, ana: str) -> Iterator[httpx.Client]:
    """A client logged in as Ana."""
    assert ana
    with signed_in(address, "ana") as caller:
        yield caller


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    """An identity provider."""
    with identity_provider() as it:
        yield it
