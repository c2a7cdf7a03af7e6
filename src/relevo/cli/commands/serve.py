"""`relevo serve` and `relevo demo`: runs a server; runs the demo."""

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

#: Default home of the demo, separate from other homes.
_DEMO_HOME = Path("demo-home")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
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
    console_listener = server.once_orphans_ended(partial(server.console_socket, settings, console_port)) if console else None
    console_url = _console_url(settings, console_listener) if console_listener else ""

    def ready(url: str) -> None:
        if as_json:
            certificate_fields = {"certificate": certificate.summary} if certificate else {}
            show_json({"url": url, "ready": True} | certificate_fields | ({"console": console_url} if console_url else {}))
            return
        say(f"Relevo answers at {url} (Ctrl-C stops it)")
        if console_url:
            say(f"The console is at {console_url}")
        for line in [*_certificate_lines(certificate), *_model_lines(settings)]:
            say(line)

    run = partial(server.serve, settings, insecure=insecure, ready=ready, console=console_listener)
    # With JSON logs, the warning is a log entry.
    raise typer.Exit(run() if settings.log_format == "json" else run(warn=_warn))


def _warn(text: str) -> None:
    warn(f"warning: {text}")


def _console_url(settings: Settings, listener: socket.socket) -> str:
    from relevo.server import local_url

    return settings.console_public_url or local_url(settings.host, listener.getsockname()[1], encrypted=settings.encrypted)


def _certificate_lines(certificate: Certificate | None) -> list[str]:
    """The lines about the certificate, for comparison with the browser."""
    if certificate is None:
        return []
    until = day(certificate.until)
    line = f"  certificate {certificate.cert}, until {until}"
    if certificate.self_signed:
        line = f"  its own certificate {certificate.cert}, until {until}"
    return [line, f"  SHA-256 {certificate.fingerprint}"]


def _model_lines(settings: Settings) -> list[str]:
    """The lines about the served models, or the next step without models. Reads files, because the server may need a sign-in."""
    from relevo.errors import RelevoError
    from relevo.server import model_statuses

    try:
        models = model_statuses(settings)
    except RelevoError:
        # The log reports that the database is unavailable.
        return []
    if not models:
        return ["No model is registered yet: `relevo train` or `relevo import` in another terminal; it is served at once."]
    return [
        f"  {model.name} is not served: {model.reason}" if model.version is None else f"  {model.name} {model.version}"
        for model in models
    ]


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
