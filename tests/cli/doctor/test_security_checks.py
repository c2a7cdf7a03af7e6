"""Doctor checks the audit log and the encryption keys."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from relevo import server
from relevo.cli.doctor.security_checks import security_checks
from relevo.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 3, 1, tzinfo=UTC)


def verdicts(settings: Settings) -> dict[str, tuple[str, str]]:
    return {one.subject: (one.verdict, one.message) for one in security_checks(settings)}


def test_a_changed_audit_is_told(tmp_path: Path) -> None:
    """An intact log is ok; an edited one fails; without a home there is no finding."""
    assert verdicts(Settings(home=tmp_path / "none")) == {}
    settings = Settings(home=tmp_path)
    store = server.open_store(settings)
    store.registry.add(model="digits", digest="ab" * 32, summary={}, author="ana", at=AT)
    store.engine.dispose()
    assert verdicts(settings)["audit"][0] == "ok"
    with sqlite3.connect(tmp_path / "relevo.db") as database:
        database.execute("DROP TRIGGER audit_refuse_update")
        database.execute("UPDATE audit SET actor = 'user:1'")
    assert verdicts(settings)["audit"] == ("fail", "entry 1 is not what was sealed")


def test_keys_that_do_not_open_are_told(tmp_path: Path) -> None:
    """Off is fine; a master key beside what it seals is a warning, one elsewhere is not; another one is a fault.

    Settings that say off do not make what is sealed already lie open, or open by itself.
    """
    pytest.importorskip("cryptography", reason="sealing is an extra")
    settings = Settings(home=tmp_path)
    server.open_store(settings).engine.dispose()
    assert verdicts(settings)["sealing"][0] == "ok"
    sealed = replace(settings, encrypt_inputs="on")
    store = server.open_store(sealed)
    assert store.encryption is not None
    store.encryption.load_day_key(AT)
    store.engine.dispose()
    assert verdicts(sealed)["sealing"][0] == "warn"
    verdict, output = verdicts(settings)["sealing"]
    assert (verdict, output.partition(";")[0]) == ("warn", "off in these settings, but inputs of this home were sealed")
    elsewhere = (tmp_path / "keys" / "master.key").rename(tmp_path / "elsewhere.key")
    assert verdicts(replace(sealed, master_key_file=str(elsewhere)))["sealing"][0] == "ok"
    verdict, output = verdicts(sealed)["sealing"]
    assert (verdict, output) == ("fail", "keys wrapped by another master key: 1")
    (tmp_path / "keys" / "master.key").unlink()
    assert verdicts(settings)["sealing"] == (verdict, output)
