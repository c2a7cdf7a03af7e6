"""`relevo erase`: erases a subject, in the folder or through a running server. `relevo rewrap`: changes the master key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from relevo.cli.options import AsJson, Ca, Home, Key, Url, Yes, confirmed, require_home
from relevo.cli.output import say, show_json, warn
from relevo.cli.translate import phrase
from relevo.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("erase")(erase)
    app.command("rewrap")(rewrap)


def erase(
    *,
    subject: Annotated[str, typer.Option("--subject", help="As the header Relevo-Subject named it.", metavar="SUBJECT")],
    why: Annotated[str, typer.Option("--why", help="Kept in the audit; name no person.", metavar="TEXT")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; what is erased cannot be brought back.")] = False,
    vacuum: Annotated[
        bool,
        typer.Option("--vacuum", help="Have PostgreSQL write its tables anew, so that their files hold nothing of it."),
    ] = False,
    home: Home = None,
    url: Url = None,
    key: Key = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Erase everything about a subject: predictions, labels and inputs; its keys are destroyed.

    With --vacuum the history waits for as long as PostgreSQL writes; that takes as much free room as its tables have.
    """
    if vacuum and url is not None:
        raise ConfigError(reason="--vacuum works on the database itself; leave --url out")
    confirmed(phrase("Erase everything about '{subject}'? It cannot be brought back.", subject=subject), yes=yes)
    report = _erase_in_folder(subject, why, home, vacuum=vacuum) if url is None else _erase_at_server(subject, why, url, key, ca)
    if as_json:
        show_json(report)
        return
    _show_counts(report)
    for version in report["versions"]:
        say(f"Made since, so it may have learnt from what was erased: {version['model']} {version['version']}")
    # Servers of earlier releases do not send this field.
    if report.get("left_in_files"):
        warn("PostgreSQL's files still hold what was not sealed. Run it again with --vacuum, or VACUUM FULL when it suits you.")
    elif vacuum:
        say("Written anew. What PostgreSQL's log (pg_wal) and its backups hold goes when they are overwritten.")


def _show_counts(report: dict[str, Any]) -> None:
    if not any(report[name] for name in ("predictions", "labels", "keys")):
        # A mistyped name must not look like a successful erasure.
        say("Nothing of anybody by this name was found: it was erased before, or Relevo-Subject told another name.")
        say(f"What is still on its way to the history under this name will not be kept. In the audit: {report['subject']}")
        return
    say(
        f"Erased: {report['predictions']} predictions, {report['labels']} labels, {report['keys']} keys. In the audit: {report['subject']}"
    )


def rewrap(
    *,
    to: Annotated[Path, typer.Option("--to", help="File (mode 0600) with the new master key, 64 hex digits.", metavar="FILE")],
    yes: Yes = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Wrap the keys of sealed inputs by another master key, while no server runs. Asks first.

    Once the old one is destroyed, erased subjects stay erased in older backups, too.
    """
    from relevo.server.admin import rewrap_offline

    settings = require_home(home)
    confirmed(phrase("Wrap the keys of sealed inputs by the one in {file} from now on?", file=to), yes=yes)
    key_count = rewrap_offline(settings, to)
    if as_json:
        show_json({"keys": key_count})
        return
    say(f"Keys wrapped anew: {key_count}. Name the new file from now on (master_key_file), and destroy the old key.")


def _erase_in_folder(subject: str, why: str, home: Path | None, *, vacuum: bool) -> dict[str, Any]:
    from relevo.server.admin import erase_offline
    from relevo.web.predict.subjects import validate_subject
    from relevo.web.schemas.erasure import ErasureOut

    settings = require_home(home)
    postgres = settings.store_url.startswith("postgres")
    if vacuum and not postgres:
        raise ConfigError(reason="--vacuum is for PostgreSQL; SQLite overwrites what is erased by itself")
    report = erase_offline(settings, validate_subject(subject), why=why, vacuum=vacuum)
    return ErasureOut.from_domain(report, left_in_files=postgres and not vacuum).model_dump(mode="json")


def _erase_at_server(subject: str, why: str, url: str, key: str | None, ca: Path | None) -> dict[str, Any]:
    from relevo.client import Client

    with Client(url, key, verify=ca) as client:
        report: dict[str, Any] = client.request_json("DELETE", f"/subjects/{quote(subject, safe='')}", params={"reason": why})
    return report
