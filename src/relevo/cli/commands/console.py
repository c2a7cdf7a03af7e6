"""`relevo console`: runs the web console in its own process, as a client of a running server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.options import AsJson, Ca, Url, with_settings_flags
from relevo.cli.output import say, show_json, warn
from relevo.config import Settings
from relevo.errors import ConfigError
from relevo.util.proxy_headers import parse_trusted_proxies

if TYPE_CHECKING:
    from relevo.console.auth.sessions import ConsoleConfig

#: The settings of the server that the console has too.
_SETTINGS = ("home", "trusted_proxies", "console_public_url", "public_url", "console_key_file")
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command("console")(with_settings_flags(console, _SETTINGS))


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
    settings: Settings,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although passwords travel to it unencrypted.")
    ] = False,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Show models, history and labels in a browser, until Ctrl-C.

    It asks a running server, and signs in there like anyone.
    """
    if (cert is None) != (key is None):
        raise ConfigError(reason="--tls-cert and --tls-key come together")
    if host not in _LOOPBACK_HOSTS and cert is None and not settings.trusted_proxies:
        _check_exposure(host, insecure=insecure)
    from relevo import server
    from relevo.console.server import check_installed, listening, run

    check_installed()
    listener = listening(host, port)
    console_url = server.local_url(host, listener.getsockname()[1], encrypted=cert is not None)
    config = _config(settings, url=url, ca=ca, console_url=console_url)

    def ready() -> None:
        if as_json:
            show_json({"url": console_url, "server": config.server, "ready": True})
        else:
            say(f"The console is at {config.address} and asks {config.server} (Ctrl-C stops it)")

    pair = (cert, key) if cert is not None and key is not None else None
    run(config, listener, names=tuple(filter(None, names.split(","))), pair=pair, ready=ready)


def _config(settings: Settings, *, url: str | None, ca: Path | None, console_url: str) -> ConsoleConfig:
    """The configuration of the console. url: of the server, else that of the home. console_url: of the console."""
    from relevo import server
    from relevo.console.auth.sessions import ConsoleConfig

    # The key of the home is sent only to the server of the home.
    key_path = settings.console_key if url is None or settings.console_key_file else None
    return ConsoleConfig(
        server=url or server.local_url(settings.host, settings.port, encrypted=settings.encrypted),
        verify=ca or (server.pinned_context(server.certificate_path(settings)) if settings.encrypted and url is None else None),
        language=settings.language,
        address=settings.console_public_url.rstrip("/") or console_url,
        public_url=settings.public_url.rstrip("/"),
        key=server.key_loader(key_path),
        proxies=parse_trusted_proxies(settings.trusted_proxies),
    )


def _check_exposure(host: str, *, insecure: bool) -> None:
    if not insecure:
        raise ConfigError(
            reason=f"host {host} can be reached from other machines, and passwords would travel to the console unencrypted; "
            "give --tls-cert and --tls-key, name a proxy that encrypts with --trusted-proxies, or accept the risk with --insecure"
        )
    warn(f"warning: {host} can be reached from other machines, without encryption")
