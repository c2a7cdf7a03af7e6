"""`relevo erase` on a home: confirmation, counts, and the pseudonym in the audit log."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.journal import prediction
from typer.testing import CliRunner

from relevo import server
from relevo.cli.app import app
from relevo.cli.translate import set_language
from relevo.config import Settings
from relevo.errors import ConfigError, InputUndecryptableError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_subject_is_erased_once_somebody_is_sure(tmp_path: Path) -> None:
    """Without confirmation nothing is erased; with it the rows are deleted and the audit log records it."""
    store = server.open_store(Settings(home=tmp_path))
    store.predictions.insert([prediction(subject=store.erasure.pseudonymize("patient 4711"))])
    asked = ["erase", "--subject", "patient 4711", "--why", "by letter", "--home", str(tmp_path)]
    refused = CliRunner().invoke(app, asked, input="n\n")
    assert (refused.exit_code, store.predictions.count()) == (1, 1)
    done = CliRunner().invoke(app, [*asked, "--yes", "--json"])
    message = json.loads(done.output)
    assert (message["predictions"], store.predictions.count()) == (1, 0)
    head = store.audit_reader.last_entry()
    assert head is not None
    assert (head.object, head.actor, head.reason) == (f"subject:{message['subject']}", "cli", "by letter")
    assert message["left_in_files"] is False


@pytest.mark.parametrize(
    ("language", "nothing"),
    [("es", "No se ha encontrado nada de nadie con ese nombre:"), ("en", "Nothing of anybody by this name was found:")],
)
def test_a_name_of_nobody_does_not_pass_for_somebody_erased(tmp_path: Path, language: str, nothing: str) -> None:
    """An unknown subject is reported as such; the command succeeds, is audited, and erases nothing else."""
    store = server.open_store(Settings(home=tmp_path))
    store.predictions.insert([prediction(subject=store.erasure.pseudonymize("patient 17"))])
    set_language(language)
    try:
        done = CliRunner().invoke(app, ["erase", "--subject", "patient 18", "--yes", "--home", str(tmp_path)])
    finally:
        set_language("en")
    assert (done.exit_code, nothing in done.output, store.predictions.count()) == (0, True, 1)
    pseudonym, head = store.erasure.pseudonymize("patient 18"), store.audit_reader.last_entry()
    assert head is not None
    assert (head.action, head.object, pseudonym in done.output) == ("subject.erase", f"subject:{pseudonym}", True)


def test_vacuum_is_for_a_postgresql_at_hand(tmp_path: Path) -> None:
    """--vacuum is rejected for SQLite and with --url, before anything is erased."""
    store = server.open_store(Settings(home=tmp_path))
    store.predictions.insert([prediction(subject=store.erasure.pseudonymize("patient 4711"))])
    asked = ["erase", "--subject", "patient 4711", "--yes", "--vacuum"]
    for where in (["--home", str(tmp_path)], ["--url", "http://127.0.0.1:9"]):
        assert isinstance(CliRunner().invoke(app, [*asked, *where]).exception, ConfigError)
    assert store.predictions.count() == 1


def test_another_master_key_takes_over(tmp_path: Path) -> None:
    """After rewrap only the new key decrypts; the change is audited; the new key file must exist."""
    pytest.importorskip("cryptography", reason="sealing is an extra")
    home, to = tmp_path / "home", tmp_path / "new.key"
    settings = Settings(home=home, encrypt_inputs="on")
    store = server.open_store(settings)
    assert store.encryption is not None
    store.encryption.load_day_key(datetime.now(UTC))
    one = prediction(100)
    store.predictions.insert([store.encryption.encrypt(one)])
    asked = ["rewrap", "--yes", "--to", str(to), "--home", str(home), "--json"]
    assert CliRunner().invoke(app, asked).exit_code == 1
    to.write_text("cd" * 32)
    to.chmod(0o600)
    assert json.loads(CliRunner().invoke(app, asked).output) == {"keys": 1}
    # Whoever did not hear that it was done may ask again: all of them are its already.
    assert json.loads(CliRunner().invoke(app, asked).output) == {"keys": 0}
    with pytest.raises(InputUndecryptableError):
        store.predictions.input(one.id)
    assert server.open_store(replace(settings, master_key_file=str(to))).predictions.input(one.id)[1] == one.input
    head = store.audit_reader.last_entry()
    assert head is not None
    assert (head.action, len(head.before), len(head.after)) == ("sealing.rewrap", 16, 16)


def test_a_journal_that_was_set_aside_is_erased(tmp_path: Path) -> None:
    """An erasure removes damaged journals and their log, because their content is unknown."""
    server.open_store(Settings(home=tmp_path)).engine.dispose()
    worker = tmp_path / "spool" / "1-ab"
    worker.mkdir(parents=True)
    for name in ("00000001.damaged", "00000001.damaged-wal"):
        (worker / name).write_bytes(b"what patient 4711 sent")
    asked = ["erase", "--subject", "patient 4711", "--why", "by letter", "--home", str(tmp_path), "--yes"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert not any(b"4711" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
