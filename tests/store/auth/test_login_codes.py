"""Codes for consoles, on both databases: once, in time, and nothing of them is kept that would make one."""

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
from relevo.store.db.tables import hand_overs

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def people(emptied: Engine) -> Users:
    """A store with one admin, ana."""
    people = Users(emptied, AuditLog(b"key"))
    people.add_user("ana", Role.ADMIN, at=NOW)
    return people


@pytest.fixture
def wanted(people: Users) -> LoginCode:
    """Her, and a console."""
    return LoginCode(user=people.named("ana").id, console="https://console.example", challenge="c" * 43)


def test_a_code_is_taken_once_and_in_time(people: Users, wanted: LoginCode) -> None:
    """A second later, a second time, or a word that is no code: nothing."""
    codes = people.hand_overs
    first, late, punctual = (codes.issue(wanted, at=NOW) for _ in range(3))
    assert codes.take(first + "x", at=NOW) is None
    assert codes.take(first, at=NOW) == wanted
    assert codes.take(first, at=NOW) is None
    assert codes.take(late, at=NOW + LONGEST) is None
    assert codes.take(late, at=NOW) is None, "shown too late, it is gone"
    assert codes.take(punctual, at=NOW + LONGEST - timedelta(seconds=1)) == wanted


def test_two_at_once_take_it_once(people: Users, wanted: LoginCode) -> None:
    """Whoever saw a code on its way and is as quick as its console: one of them has it."""
    code = people.hand_overs.issue(wanted, at=NOW)
    told: list[bool] = []
    start = threading.Barrier(4)

    def take() -> None:
        start.wait()
        told.append(people.hand_overs.take(code, at=NOW) is not None)

    all_of_them = [threading.Thread(target=take) for _ in range(4)]
    for one in all_of_them:
        one.start()
    for one in all_of_them:
        one.join()
    assert sorted(told) == [False, False, False, True]


def test_old_ones_go_and_no_code_is_kept(people: Users, wanted: LoginCode, emptied: Engine) -> None:
    """What lies in the table lets nobody in, and what is over goes when the next one comes."""
    people.hand_overs.issue(wanted, at=NOW)
    code = people.hand_overs.issue(wanted, at=NOW + LONGEST)
    with read_transaction(emptied) as connection:
        rows = connection.execute(select(hand_overs)).all()
    assert len(rows) == 1
    assert code not in str(rows)
