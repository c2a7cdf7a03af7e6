"""Whoever signs in to a world: users with real passwords, and callers that hold a session as a browser or a program does."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import httpx

from relevo.domain.access import Role
from relevo.store.auth.password_hash import hash_password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.web_app import World

PASSWORD = "correct horse battery"  # noqa: S105 - of users who live as long as a test


@cache
def kept() -> str:
    """Its hash, made once: argon2 is slow on purpose."""
    return hash_password(PASSWORD)


def add(world: World, name: str, role: Role | None = Role.ADMIN, **grants: Role) -> str:
    """A user with that password; every worker knows. Gives the id."""
    made = world.store.users.add_user(name, role, grants=grants, password_hash=kept(), at=datetime.now(UTC))
    world.context.authenticator.access = world.store.users.access_snapshot()
    return made


@contextmanager
def signed_in(address: str, name: str, *, password: str = PASSWORD) -> Iterator[httpx.Client]:
    """A program that signed in and sends what changes something as it must be sent."""
    with httpx.Client(base_url=address, timeout=20) as caller:
        told = caller.post("/login", json={"name": name, "password": password})
        assert told.status_code == 200, told.text
        caller.headers.update({"origin": address, "x-csrf-token": told.json()["csrf"]})
        yield caller


def cookie(caller: httpx.Client) -> str:
    """The session that a caller holds."""
    return str(caller.cookies["relevo_session"])


def code(told: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return told.status_code, told.json()["code"]
