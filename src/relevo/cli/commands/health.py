"""`relevo health`: whether the server of these settings lives, or is ready; for whoever restarts it.

settings ─► https or http, host, port ─► GET /health/live | /health/ready ─► exit code 0 or 1
    └─ no? ─► does this home's server answer elsewhere?
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.options import AsJson, Ca, Home, Url, connect, load_command_settings
from relevo.cli.output import say, show_json

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE_S = 5.0
_TOLD = {
    ("live", True): "The server at {url} is live",
    ("live", False): "The server at {url} is not live",
    ("ready", True): "The server at {url} is ready",
    ("ready", False): "The server at {url} is not ready",
}
_ELSEWHERE = (
    "This home's server answers at {url}: other commands do not see the flags of `relevo serve`; write them into relevo.toml."
)


def register(app: typer.Typer) -> None:
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
    with connect(url, None, ca, home=home, timeout=_PATIENCE_S) as client:
        well = client.ready() if ready else client.live()
        asked = "ready" if ready else "live"
        elsewhere = "" if well or url else _elsewhere(home)
        if as_json:
            show_json({"url": client.url, asked: well} | ({"elsewhere": elsewhere} if elsewhere else {}))
        else:
            say(_TOLD[asked, well].format(url=client.url))
            if elsewhere:
                say(_ELSEWHERE.format(url=elsewhere))
    if not well:
        raise typer.Exit(1)


def _elsewhere(home: Path | None) -> str:
    from relevo.server import other_address

    return other_address(load_command_settings(home))
