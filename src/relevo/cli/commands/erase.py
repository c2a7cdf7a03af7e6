"""`relevo erase`: everything about a subject, from the folder or through a running server. `relevo rewrap`: another master key."""

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
    """Add this file's commands."""
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
    told = _local(subject, why, home, vacuum=vacuum) if url is None else _remote(subject, why, url, key, ca)
    if as_json:
        show_json(told)
        return
    _say_how_much(told)
    for one in told["versions"]:
        say(f"Made since, so it may have learnt from what was erased: {one['model']} {one['version']}")
    # A server of an earlier release does not say.
    if told.get("left_in_files"):
        warn("PostgreSQL's files still hold what was not sealed. Run it again with --vacuum, or VACUUM FULL when it suits you.")
    elif vacuum:
        say("Written anew. What PostgreSQL's log (pg_wal) and its backups hold goes when they are overwritten.")


def _say_how_much(told: dict[str, Any]) -> None:
    if not any(told[what] for what in ("predictions", "labels", "keys")):
        # A name that is mistyped must not pass for somebody who was erased.
        say("Nothing of anybody by this name was found: it was erased before, or Relevo-Subject told another name.")
        say(f"What is still on its way to the history under this name will not be kept. In the audit: {told['subject']}")
        return
    say(f"Erased: {told['predictions']} predictions, {told['labels']} labels, {told['keys']} keys. In the audit: {told['subject']}")


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
    keys = rewrap_offline(settings, to)
    if as_json:
        show_json({"keys": keys})
        return
    say(f"Keys wrapped anew: {keys}. Name the new file from now on (master_key_file), and destroy the old key.")


def _local(subject: str, why: str, home: Path | None, *, vacuum: bool) -> dict[str, Any]:
    from relevo.server.admin import erase_offline
    from relevo.web.predict.subjects import validate_subject
    from relevo.web.schemas.erasure import ErasedView

    settings = require_home(home)
    postgres = settings.store_url.startswith("postgres")
    if vacuum and not postgres:
        raise ConfigError(reason="--vacuum is for PostgreSQL; SQLite overwrites what is erased by itself")
    erased = erase_offline(settings, validate_subject(subject), why=why, write_anew=vacuum)
    return ErasedView.of(erased, left_in_files=postgres and not vacuum).model_dump(mode="json")


def _remote(subject: str, why: str, url: str, key: str | None, ca: Path | None) -> dict[str, Any]:
    from relevo.client import Client

    with Client(url, key, verify=ca) as client:
        told: dict[str, Any] = client.ask("DELETE", f"/subjects/{quote(subject, safe='')}", params={"reason": why})
    return told
