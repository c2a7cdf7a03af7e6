"""`relevo erase` on a home: it asks first, tells what was erased, and by which name the audit knows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.spool.spool_world import prediction
from typer.testing import CliRunner

from relevo import compose
from relevo.cli.app import app
from relevo.config import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_subject_is_erased_once_somebody_is_sure(tmp_path: Path) -> None:
    """Without a yes nothing happens; with it the rows go, and the audit says so."""
    store = compose.open_store(Settings(home=tmp_path))
    store.history.record([prediction(subject=store.erasing.pseudonym("patient 4711"))])
    asked = ["erase", "--subject", "patient 4711", "--why", "by letter", "--home", str(tmp_path)]
    refused = CliRunner().invoke(app, asked, input="n\n")
    assert (refused.exit_code, store.history.count()) == (1, 1)
    done = CliRunner().invoke(app, [*asked, "--yes", "--json"])
    told = json.loads(done.output)
    assert (told["predictions"], store.history.count()) == (1, 0)
    head = store.trail.head()
    assert head is not None
    assert (head.object, head.actor, head.reason) == (f"subject:{told['subject']}", "cli", "by letter")
    assert "Erased: 0 predictions" in CliRunner().invoke(app, [*asked, "--yes"]).output
