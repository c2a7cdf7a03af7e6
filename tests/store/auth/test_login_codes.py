"""Login codes for consoles, on both databases: redeemed once, in time, and stored as hashes only."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from relevo.domain.access import Role
from relevo.store.audit.log import AuditLog
from relevo.store.auth.login_codes import LONGEST, LoginCode
from relevo.store.auth.users import Users
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import login_codes

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def user_store(emptied: Engine) -> Users:
    """A store with one admin, ana."""
    user_store = Users(emptied, AuditLog(b"key"))
    user_store.add_user("ana", Role.ADMIN, at=NOW)
    return user_store


@pytest.fixture
def login_code(user_store: Users) -> LoginCode:
    """A login code for ana and a console."""
    return LoginCode(user=user_store.get_by_name("ana").id, console="https://console.example", challenge="c" * 43)


def test_a_code_is_redeemed_once_and_in_time(user_store: Users, login_code: LoginCode) -> None:
    """An expired, used or invalid code is rejected."""
    codes = user_store.hand_overs
    first, late, punctual = (codes.issue(login_code, at=NOW) for _ in range(3))
    assert codes.take(first + "x", at=NOW) is None
    assert codes.take(first, at=NOW) == login_code
    assert codes.take(first, at=NOW) is None
    assert codes.take(late, at=NOW + LONGEST) is None
    assert codes.take(late, at=NOW) is None, "shown too late, it is gone"
    assert codes.take(punctual, at=NOW + LONGEST - timedelta(seconds=1)) == login_code


def test_concurrent_redemptions_succeed_once(user_store: Users, login_code: LoginCode) -> None:
    """Of two concurrent redemptions of one code, one succeeds."""
    code = user_store.hand_overs.issue(login_code, at=NOW)
    told: list[bool] = []
    start = threading.Barrier(4)

    def take() -> None:
        start.wait()
        told.append(user_store.hand_overs.take(code, at=NOW) is not None)

    all_of_them = [threading.Thread(target=take) for _ in range(4)]
    for one in all_of_them:
        one.start()
    for one in all_of_them:
        one.join()
    assert sorted(told) == [False, False, False, True]


def test_expired_rows_are_deleted_and_codes_are_hashed(user_store: Users, login_code: LoginCode, emptied: Engine) -> None:
    """The table contains no usable code, and expired rows are deleted when the next code is issued."""
    user_store.hand_overs.issue(login_code, at=NOW)
    code = user_store.hand_overs.issue(login_code, at=NOW + LONGEST)
    with read_transaction(emptied) as connection:
        rows = connection.execute(select(login_codes)).all()
    assert len(rows) == 1
    assert code not in str(rows)
