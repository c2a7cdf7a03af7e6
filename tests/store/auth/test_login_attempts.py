"""Failed logins are logged by user, address and hour, and their number is limited."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from relevo.domain.access import Role
from relevo.store.audit.log import AuditLog
from relevo.store.auth.login_attempts import UNKNOWN, WRONG, Attempts
from relevo.store.auth.users import Users
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import sign_in_attempts

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_equal_attempts_of_an_hour_are_one_row(emptied: Engine) -> None:
    """Another address, reason, name or hour adds a row; pages follow each other."""
    user_store = Users(emptied, AuditLog(b"key"))
    ana = user_store.add_user("ana", Role.ADMIN, password_hash="", at=NOW)
    for minute in range(3):
        user_store.attempts.note(ana, "ana", "10.0.0.1", WRONG, at=NOW + timedelta(minutes=minute))
    user_store.attempts.note(ana, "ana", "10.0.0.2", WRONG, at=NOW)
    user_store.attempts.note(ana, "ana", "10.0.0.1", WRONG, at=NOW + timedelta(hours=1))
    for name in ("Nobody", "nobody", "somebody"):
        user_store.attempts.note(None, name, "10.0.0.1", UNKNOWN, at=NOW)
    first = user_store.attempts.page(limit=2)
    then = user_store.attempts.page(limit=50, cursor=first.next_cursor)
    assert [one.tries for one in (*first.items, *then.items)] == [1, 2, 1, 1, 3]
    assert then.items[-1].last - then.items[-1].first == timedelta(minutes=2)
    assert (then.items[-1].name, first.items[0].name, then.next_cursor) == ("ana", None, None)
    assert first.items[0].mark != first.items[1].mark != ""


def test_only_the_newest_rows_are_kept(emptied: Engine) -> None:
    """Above the maximum number of rows the oldest are deleted, whatever was typed."""
    attempts = Attempts(emptied, AuditLog(b"key"), max_rows=5)
    for number in range(12):
        attempts.note(None, f"\x00{number}", "x" * 300, UNKNOWN, at=NOW)
    with read_transaction(emptied) as connection:
        assert connection.scalar(select(func.count()).select_from(sign_in_attempts)) == 5
