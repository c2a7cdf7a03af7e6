"""`relevo serve` and `relevo demo`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.options import AsJson, load_command_settings, with_settings_flags
from relevo.cli.output import say, show_json, warn
from relevo.cli.translate import day
from relevo.config import Settings

if TYPE_CHECKING:
    import socket

    from relevo.server import Certificate

#: Where the demo keeps its things, beside nobody else's.
_DEMO_HOME = Path("demo-home")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("demo")(demo)
    app.command("serve")(with_settings_flags(serve))


def serve(
    *,
    settings: Settings,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Let other machines reach it although nobody is asked who they are, or nothing is encrypted.",
        ),
    ] = False,
    console: Annotated[bool, typer.Option("--console", help="Show the console too, on another port of the same host.")] = False,
    console_port: Annotated[
        int, typer.Option("--console-port", min=0, max=65535, help="Port of the console; 0 takes a free one.", metavar="NUMBER")
    ] = 8501,
    as_json: AsJson = False,
) -> None:
    """Serve the registered models until Ctrl-C.

    Every answer is recorded before it is given.
    """
    from relevo import server
    from relevo.telemetry import configure_logging

    server.check_server_exposure(settings, insecure=insecure)
    configure_logging(settings.log_level, settings.log_format)
    certificate = server.certificate_of(settings, server.utc_now())
    beside = server.once_orphans_ended(partial(server.console_socket, settings, console_port)) if console else None
    shown_at = _console_at(settings, beside) if beside else ""

    def ready(url: str) -> None:
        if as_json:
            more = {"certificate": certificate.summary} if certificate else {}
            show_json({"url": url, "ready": True} | more | ({"console": shown_at} if shown_at else {}))
            return
        say(f"Relevo answers at {url} (Ctrl-C stops it)")
        if shown_at:
            say(f"The console is at {shown_at}")
        for line in [*_shown(certificate), *_served(settings)]:
            say(line)

    serving = partial(server.serve, settings, insecure=insecure, ready=ready, console=beside)
    # A machine that reads the log reads the warning there.
    raise typer.Exit(serving() if settings.log_format == "json" else serving(warn=_warn))


def _warn(text: str) -> None:
    warn(f"warning: {text}")


def _console_at(settings: Settings, listener: socket.socket) -> str:
    from relevo.server import local_url

    return settings.console_public_url or local_url(settings.host, listener.getsockname()[1], encrypted=settings.encrypted)


def _shown(certificate: Certificate | None) -> list[str]:
    """What a person compares with what the browser shows, or tells those who call."""
    if certificate is None:
        return []
    until = day(certificate.until)
    told = f"  certificate {certificate.cert}, until {until}"
    if certificate.self_signed:
        told = f"  its own certificate {certificate.cert}, until {until}"
    return [told, f"  SHA-256 {certificate.fingerprint}"]


def _served(settings: Settings) -> list[str]:
    """Which models answer, or what a newcomer does next. The server is not asked: where it has users, it asks back."""
    from relevo.errors import RelevoError
    from relevo.server import model_statuses

    try:
        models = model_statuses(settings)
    except RelevoError:
        # The database is away, which the log tells.
        return []
    if not models:
        return ["No model is registered yet: `relevo train` or `relevo import` in another terminal; it is served at once."]
    return [f"  {one.name} is not served: {one.reason}" if one.version is None else f"  {one.name} {one.version}" for one in models]


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
    from relevo.cli.commands.demo import run_demo

    settings = load_command_settings(home, toml=home / "no-project.toml", port=0 if headless and port == 8000 else port)
    raise typer.Exit(run_demo(settings, headless=headless, as_json=as_json))
