"""`relevo serve` and `relevo demo`."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Annotated

import typer

from relevo.cli.asking import AsJson, settings_of, takes_settings
from relevo.cli.showing import say, show_json
from relevo.config import Settings
from relevo.errors import ConfigRefused

#: Where the demo keeps its things, beside nobody else's.
_DEMO_HOME = Path("demo-home")


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("demo")(demo)
    app.command("serve")(takes_settings(serve))


def serve(
    *,
    settings: Settings,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Listen beyond this machine although nothing is encrypted and nobody is asked who they are."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve the registered models until Ctrl-C.

    Every answer is recorded before it is given.
    """
    if not _stays_here(settings.host):
        _allow_outside(settings.host, insecure=insecure)
    from relevo import compose
    from relevo.telemetry import configure_logging

    configure_logging(settings.log_level, settings.log_format)

    def ready(url: str) -> None:
        if as_json:
            show_json({"url": url, "ready": True})
        else:
            say(f"Relevo answers at {url} (Ctrl-C stops it)")
            for line in _served(url):
                say(line)

    raise typer.Exit(compose.serve(settings, ready=ready))


def _served(url: str) -> list[str]:
    """Which models answer, or what a newcomer does next."""
    from relevo.client import Client
    from relevo.errors import RelevoError

    try:
        with Client(url) as client:
            models = client.models()
    except RelevoError:
        # The database is away, which the log tells.
        return []
    if not models:
        return ["No model is registered yet: `relevo train` or `relevo import` in another terminal; it is served at once."]
    return [f"  {one['name']} {one['serving'] or 'is not served: ' + one['reason']}" for one in models]


def _stays_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _allow_outside(host: str, *, insecure: bool) -> None:
    if not insecure:
        raise ConfigRefused(
            reason=f"host {host} can be reached from other machines, where this release neither encrypts nor asks who calls; "
            "put a proxy that does both in front, or accept the risk with --insecure"
        )
    sys.stderr.write(f"warning: {host} can be reached from other machines, without encryption and without keys\n")


def demo(
    *,
    headless: Annotated[
        bool, typer.Option("--headless", help="End by itself; exit code 0 only if everything checked out.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.", metavar="NUMBER")
    ] = 8000,
    home: Annotated[
        Path, typer.Option("--home", help="Folder for the demo's database, journals and package.", metavar="FOLDER")
    ] = _DEMO_HOME,
    as_json: AsJson = False,
) -> None:
    """See all of it in half a minute, on real digits.

    Trains on handwritten digits, serves them, asks over HTTP and looks back.
    """
    from relevo.cli.demo import run_demo

    settings = settings_of(home, toml=home / "no-project.toml", port=0 if headless and port == 8000 else port)
    raise typer.Exit(run_demo(settings, headless=headless, as_json=as_json))
