"""What commands ask for: the options that many share, and one flag for every setting.

rows of config ─► takes_settings ─► --port, --workers, … ─► load_settings ─► Settings
--url ─► asked_server ─► Client        without it: https or http, host and port of the settings, and the certificate they name
"""

from __future__ import annotations

import inspect
import os
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relevo.cli.translate import phrase, said
from relevo.config import SETTINGS, Settings, load_settings
from relevo.errors import NotFoundError, OriginError, UsersLostError
from relevo.util.files import look_into

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.client import Client
    from relevo.config import Setting

PROJECT_FILE = Path("relevo.toml")

#: Whether it may be read is told by who opens it, as with a home of the settings.
Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder with the database, journals, packages and inputs.", metavar="FOLDER", readable=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]
Url = Annotated[
    str | None, typer.Option("--url", envvar="RELEVO_URL", help="Ask this running server instead of the folder.", metavar="URL")
]
Key = Annotated[str | None, typer.Option("--key", envvar="RELEVO_KEY", help="Key to send to the server.", metavar="KEY")]

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]

Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="RELEVO_CA", help="Certificates to trust over https, the server's own for one.", metavar="FILE"),
]


def load_command_settings(home: Path | None, *, toml: Path = PROJECT_FILE, **flags: object) -> Settings:
    """Settings of a command run in this folder, or in that of the project named. Raises UnknownSettingError, InvalidSettingError."""
    settings = load_settings({"home": home, **flags}, toml_path=toml if os.path.lexists(toml) else None)
    # What draws the figures keeps a list of fonts: beside all else of ours, not in the user's own folders.
    os.environ.setdefault("MPLCONFIGDIR", str(settings.home.resolve() / "cache"))
    return settings


def require_home(home: Path | None) -> Settings:
    """Settings of a command that only looks: it makes nothing where nothing is. Raises NotFoundError there, UsersLostError."""
    from relevo.server.users_marker import had_users

    settings = load_command_settings(home)
    look_into(settings.home)
    # A home that knows its database had one: what is missing then is told by whoever opens it.
    if not settings.database_url and not any((settings.home / name).exists() for name in ("relevo.db", "database.json")):
        if had_users(settings.home):
            raise UsersLostError
        raise NotFoundError.told(
            f"There is no Relevo home in {settings.home.resolve()}; `relevo train` and `relevo import` make one, "
            "--home names another."
        )
    return settings


def connect(url: str | None, key: str | None, ca: Path | None, *, home: Path | None = None, timeout: float = 30.0) -> Client:
    """The server named, else that of this folder's settings, of which it trusts exactly the certificate it has the file of.

    timeout: seconds a try. Raises ConfigError.
    """
    from relevo.client import Client

    if url:
        return Client(url, key, timeout, verify=ca)
    from relevo import server

    settings = load_command_settings(home)
    verify = ca or (server.pinned_context(server.certificate_path(settings)) if settings.encrypted else None)
    return Client(server.local_url(settings.host, settings.port, encrypted=settings.encrypted), key, timeout, verify=verify)


def confirm(question: str) -> bool:
    """Whether a person says yes, in the language spoken or in English; anything else is a no. Nobody there ends the command."""
    answer = typer.prompt(f"{said(question)} {phrase('[y/N]')}", default="", show_default=False, err=True)
    return answer.strip().casefold() in {"y", "yes", *phrase("y, yes").split(", ")}


def confirmed(question: str, *, yes: bool) -> None:
    """Go on only when a person agrees, or has said --yes. question: in the language spoken, with the name of the thing.

    Raises OriginError when they do not, or when nobody is there to be asked.
    """
    try:
        if yes or confirm(question):
            return
    except typer.Abort:
        if sys.stdin.isatty():
            raise
    raise OriginError(reason="nothing was changed; --yes does it without asking")


def with_settings_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for each setting; it receives them loaded, as `settings`."""
    own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "settings"]

    @wraps(command)
    def run(**given: Any) -> None:
        flags = {row.name: given.pop(row.name) for row in SETTINGS}
        command(settings=load_command_settings(flags.pop("home"), **flags), **given)

    rows = [_flag(row) for row in SETTINGS]
    run.__signature__ = inspect.Signature([*own, *rows])  # type: ignore[attr-defined]  # how Typer learns the flags
    run.__annotations__ = {one.name: one.annotation for one in [*own, *rows]}
    del run.__wrapped__  # else the plain signature would be found first
    return run


def _flag(row: Setting) -> inspect.Parameter:
    told = row.help if row.default in ("", None) else f"{row.help} [default: {row.default}]"
    metavar = "|".join(row.choices) or {int: "NUMBER", float: "NUMBER", Path: "FOLDER"}.get(row.kind, "TEXT")
    option = typer.Option(row.flag, help=told, metavar=metavar, rich_help_panel="Settings")
    return inspect.Parameter(row.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option])
