"""`relevo console`: the pages for people, in a process of its own that asks a running server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.options import AsJson, Ca, Home, Url, settings_of
from relevo.cli.output import say, show_json, warn
from relevo.config import ROWS
from relevo.errors import ConfigRefused
from relevo.util.proxy_headers import proxies_of

if TYPE_CHECKING:
    from relevo.config import Settings
    from relevo.console.auth.sessions import Told

_HELP = {row.name: row.help for row in ROWS}
_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})


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
    cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", help="File with the certificate (PEM) to encrypt with; needs --tls-key.", metavar="FILE"),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--tls-key", help="File with the private key (PEM, without a passphrase).", metavar="FILE")
    ] = None,
    behind_proxy: Annotated[
        str | None, typer.Option("--behind-proxy", help=_HELP["behind_proxy"], metavar="TEXT", show_default=False)
    ] = None,
    address: Annotated[
        str | None, typer.Option("--console-address", help=_HELP["console_address"], metavar="TEXT", show_default=False)
    ] = None,
    server_address: Annotated[
        str | None, typer.Option("--server-address", help=_HELP["server_address"], metavar="TEXT", show_default=False)
    ] = None,
    key_file: Annotated[
        str | None, typer.Option("--console-key-file", help=_HELP["console_key_file"], metavar="TEXT", show_default=False)
    ] = None,
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
    if (cert is None) != (key is None):
        raise ConfigRefused(reason="--tls-cert and --tls-key come together")
    settings = settings_of(
        home, behind_proxy=behind_proxy, console_address=address, server_address=server_address, console_key_file=key_file
    )
    if host not in _THIS_MACHINE and cert is None and not settings.behind_proxy:
        _allow_outside(host, insecure=insecure)
    from relevo import server
    from relevo.console.server import check_installed, listening, run

    check_installed()
    listener = listening(host, port)
    own = server.address_at(host, listener.getsockname()[1], encrypted=cert is not None)
    told = _told(settings, url=url, ca=ca, own=own)

    def ready() -> None:
        if as_json:
            show_json({"url": own, "server": told.server, "ready": True})
        else:
            say(f"The console is at {told.address} and asks {told.server} (Ctrl-C stops it)")

    pair = (cert, key) if cert is not None and key is not None else None
    run(told, listener, names=tuple(filter(None, names.split(","))), pair=pair, ready=ready)


def _told(settings: Settings, *, url: str | None, ca: Path | None, own: str) -> Told:
    """What the pages are told of the server and of themselves. url: the server, else the home's own. own: where they are."""
    from relevo import server
    from relevo.console.auth.sessions import Told

    # The home's own key is shown to the home's own server alone.
    key_path = settings.console_key if url is None or settings.console_key_file else None
    return Told(
        server=url or server.address_at(settings.host, settings.port, encrypted=settings.encrypted),
        verify=ca or (server.trusting(server.file_of(settings)) if settings.encrypted and url is None else None),
        language=settings.language,
        address=settings.console_address.rstrip("/") or own,
        server_address=settings.server_address.rstrip("/"),
        key=server.key_reader(key_path),
        proxies=proxies_of(settings.behind_proxy),
    )


def _allow_outside(host: str, *, insecure: bool) -> None:
    if not insecure:
        raise ConfigRefused(
            reason=f"host {host} can be reached from other machines, and passwords would travel to the console unencrypted; "
            "give --tls-cert and --tls-key, name a proxy that encrypts with --behind-proxy, or accept the risk with --insecure"
        )
    warn(f"warning: {host} can be reached from other machines, without encryption")
