"""The audit is a chain: each link is sealed with the one before it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from relevo.domain.audit import Act, By
from relevo.store.audit import Audit
from relevo.store.engine import reading, writing
from relevo.store.tables import audit

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_each_link_holds_the_seal_of_the_one_before(engine: Engine) -> None:
    """Three changes make three links that follow each other, each with its own seal."""
    trail = Audit(b"key")
    for name in ("a", "b", "c"):
        with writing(engine) as connection:
            trail.append(connection, Act(by=By(actor="cli"), action="user.add", object=f"user:{name}"), at=datetime.now(UTC))
    with reading(engine) as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(audit).order_by(audit.c.sequence))]
    assert [row["previous"] for row in rows] == ["", rows[0]["seal"], rows[1]["seal"]]
    assert all(row.pop("seal") == trail.seal(row) for row in rows)
