"""`relevo console`: the pages for people, in a process of its own that asks a running server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.asking import AsJson, Ca, Home, Url, settings_of
from relevo.cli.showing import say, show_json
from relevo.errors import ConfigRefused

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.config import Settings

_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})
#: Addresses that stand for all of a machine's own.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared with, not bound to


def add_to(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("console")(console)


def console(
    *,
    url: Url = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.", metavar="TEXT")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.", metavar="NUMBER")
    ] = 8501,
    names: Annotated[
        str,
        typer.Option("--allowed-hosts", help="Names, with commas between, that browsers may call it by; * is any.", metavar="TEXT"),
    ] = "",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although passwords travel to it unencrypted.")
    ] = False,
    home: Home = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Show models, history and labels in a browser, until Ctrl-C.

    It asks a running server, and signs in there like anyone.
    """
    if host not in _THIS_MACHINE:
        _allow_outside(host, insecure=insecure)
    from relevo.console.launch import run
    from relevo.console.visitors import Told

    settings = settings_of(home)
    told = Told(
        server=url or _address_of(settings), ca=ca or (None if url else _certificate_of(settings)), language=settings.language
    )

    def ready(address: str) -> None:
        if as_json:
            show_json({"url": address, "server": told.server, "ready": True})
        else:
            say(f"The console is at {address} and asks {told.server} (Ctrl-C stops it)")

    raise typer.Exit(run(told, host=host, port=port, ready=ready, names=tuple(filter(None, names.split(",")))))


def _allow_outside(host: str, *, insecure: bool) -> None:
    if not insecure:
        raise ConfigRefused(
            reason=f"host {host} can be reached from other machines, and passwords would travel to the console unencrypted; "
            "put a proxy that encrypts in front, or accept the risk with --insecure"
        )
    sys.stderr.write(f"warning: {host} can be reached from other machines, without encryption\n")


def _address_of(settings: Settings) -> str:
    """Where the server of these settings is reached from here."""
    host = _ANY.get(settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http{'s' if settings.encrypted else ''}://{host}:{settings.port}"


def _certificate_of(settings: Settings) -> Path | None:
    from relevo import compose

    return compose.file_of(settings) if settings.encrypted else None
