"""`relevo audit` on a home: list, head, verify, rotate-key."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from relevo import server
from relevo.cli.app import app
from relevo.cli.translate import set_language
from relevo.config import Settings
from relevo.domain.access import Role

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two audit entries."""
    store = server.open_store(Settings(home=tmp_path))
    at = datetime(2026, 3, 1, tzinfo=UTC)
    store.registry.add(model="digits", digest="ab" * 32, summary={}, author="ana", at=at)
    store.registry.move_alias("digits", "champion", 1, author="ana", reason="\x1b[31mfirst", at=at)
    store.engine.dispose()
    return tmp_path


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments, "--home", str(home)])


def test_the_record_is_listed(home: Path) -> None:
    """Newest first; control characters are escaped for people; JSON is that of the server."""
    shown = run(home, "list").output
    assert "alias.move" in shown
    assert "\x1b" not in shown
    items = json.loads(run(home, "list", "--json", "--limit", "1").output)["items"]
    assert [(one["sequence"], one["actor"]) for one in items] == [(2, "cli")]
    assert "--cursor 2" in run(home, "list", "--limit", "1").output


def test_people_are_told_by_name(tmp_path: Path) -> None:
    """Users are shown by name instead of id, and cannot be confused with the command line; names are not cut."""
    store, at = server.open_store(Settings(home=tmp_path)), datetime(2026, 3, 1, tzinfo=UTC)
    created = store.users.add_user("cli", None, grants={"digits": Role.LABELER}, password_hash="", at=at)
    store.engine.dispose()
    shown = run(tmp_path, "list").output
    assert "user:cli" in shown
    assert created not in shown
    assert "digits: labeler" in shown


def test_an_untouched_record_is_whole(home: Path) -> None:
    """The log verifies against a saved head and the checkpoint outside the database."""
    head = run(home, "head").output.strip()
    assert head.startswith("2:")
    done = run(home, "verify", "--head", head, "--json")
    assert (done.exit_code, json.loads(done.output)["heads"]) == (0, 2)


def test_what_was_done_to_it_is_told(home: Path) -> None:
    """Truncation is detected with a checkpoint or a saved head, an edited entry without; exit code 1."""
    head = run(home, "head").output.strip()
    with sqlite3.connect(home / "relevo.db") as database:
        database.execute("DROP TRIGGER audit_refuse_delete")
        database.execute("DROP TRIGGER audit_refuse_update")
        database.execute("DELETE FROM audit WHERE sequence = 2")
    assert run(home, "verify").exit_code == 1
    (home / "audit" / "last.json").unlink()
    assert "heads are missing" in run(home, "verify").output, "whoever cut the end takes what tells of it, too"
    cut = run(home, "verify", "--head", head)
    assert cut.exit_code == 1
    assert "cut: the end is missing" in cut.output
    with sqlite3.connect(home / "relevo.db") as database:
        database.execute("UPDATE audit SET actor = 'user:1'")
    edited = run(home, "verify")
    assert (edited.exit_code, "altered: entry 1" in edited.output) == (1, True)


def test_no_head_at_all_is_refused(home: Path) -> None:
    """An invalid --head is an error."""
    for text in ("abc", "x:1", ""):
        assert run(home, "verify", "--head", text).exit_code == 1


def test_a_new_key_seals_from_now_on(home: Path) -> None:
    """After a rotation, the log verifies with both keys, records the rotation, and still shows names."""
    before = server.open_store(Settings(home=home))
    pseudonym = before.erasure.pseudonymize("patient 17")
    before.engine.dispose()
    done = json.loads(run(home, "rotate-key", "--why", "a year has gone", "--yes", "--json").output)
    assert (done["entry"], done["before"] != done["after"]) == (4, True)
    assert json.loads(run(home, "verify", "--json").output)["faults"] == []
    items = json.loads(run(home, "list", "--json").output)["items"]
    assert [one["action"] for one in items][:2] == ["audit.begin_key", "audit.retire_key"]
    after = server.open_store(Settings(home=home))
    assert after.audit.key_id == done["after"]
    assert after.erasure.pseudonymize("patient 17") == pseudonym
    after.engine.dispose()


def test_faults_are_told_in_the_readers_language(home: Path) -> None:
    """Every fault is translated to Spanish."""
    with sqlite3.connect(home / "relevo.db") as database:
        database.execute("DROP TRIGGER audit_refuse_update")
        database.execute("UPDATE audit SET actor = 'user:1' WHERE sequence = 1")
    set_language("es")
    try:
        assert "alterada: la entrada 1 no es lo que se selló" in run(home, "verify").output
    finally:
        set_language("en")
