"""`relevo health`: whether the server of these settings lives, or is ready; for whoever restarts it.

settings ─► https or http, host, port ─► GET /health/live | /health/ready ─► exit code 0 or 1
"""

from __future__ import annotations

from typing import Annotated

import typer

from relevo.cli.asking import AsJson, Ca, Home, Url, asked_server
from relevo.cli.showing import say, show_json

_PATIENCE_S = 5.0
_TOLD = {
    ("live", True): "The server at {url} is live",
    ("live", False): "The server at {url} is not live",
    ("ready", True): "The server at {url} is ready",
    ("ready", False): "The server at {url} is not ready",
}


def add_to(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("health")(health)


def health(
    *,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether a prediction would be answered, not only whether it lives.")
    ] = False,
    home: Home = None,
    url: Url = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Ask the server of this folder's settings whether it lives.

    Exit code 1 when it does not. Needs no other program, so a container can ask itself.
    """
    with asked_server(url, None, ca, home=home, timeout=_PATIENCE_S) as client:
        well = client.ready() if ready else client.live()
        asked = "ready" if ready else "live"
        if as_json:
            show_json({"url": client.url, asked: well})
        else:
            say(_TOLD[asked, well].format(url=client.url))
    if not well:
        raise typer.Exit(1)
