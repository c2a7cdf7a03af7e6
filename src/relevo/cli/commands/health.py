"""`relevo health`: liveness and readiness probe of the configured server, for process managers and containers.

settings ─► scheme, host, port ─► GET /health/live | /health/ready ─► exit code 0 or 1
    └─ failed? ─► does the server of this home answer at another address?
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.options import AsJson, Ca, Home, Url, connect, load_command_settings
from relevo.cli.output import say, show_json

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S = 5.0
_MESSAGES = {
    ("live", True): "The server at {url} is live",
    ("live", False): "The server at {url} is not live",
    ("ready", True): "The server at {url} is ready",
    ("ready", False): "The server at {url} is not ready",
}
_OTHER_ADDRESS = (
    "This home's server answers at {url}: other commands do not see the flags of `relevo serve`; write them into relevo.toml."
)


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
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
    with connect(url, None, ca, home=home, timeout=_TIMEOUT_S) as client:
        is_healthy = client.ready() if ready else client.live()
        probe = "ready" if ready else "live"
        other_url = "" if is_healthy or url else _other_address(home)
        if as_json:
            show_json({"url": client.url, probe: is_healthy} | ({"elsewhere": other_url} if other_url else {}))
        else:
            say(_MESSAGES[probe, is_healthy].format(url=client.url))
            if other_url:
                say(_OTHER_ADDRESS.format(url=other_url))
    if not is_healthy:
        raise typer.Exit(1)


def _other_address(home: Path | None) -> str:
    from relevo.server import other_address

    return other_address(load_command_settings(home))
