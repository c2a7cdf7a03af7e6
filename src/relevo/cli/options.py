"""Options that commands share, one flag for every setting, and the client for the selected server.

config.SETTINGS ─► with_settings_flags ─► --port, --workers, … ─► load_settings ─► Settings
--url ─► connect ─► Client        without it: scheme, host, port and certificate come from the settings
"""

from __future__ import annotations

import getpass
import inspect
import os
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relevo.cli.translate import phrase, translate
from relevo.config import SETTINGS, Settings, load_settings
from relevo.errors import NotFoundError, OriginError, UsersLostError
from relevo.util.files import check_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.client import Client
    from relevo.config import Setting
    from relevo.server import Store

PROJECT_FILE = Path("relevo.toml")

#: readable=False: permissions are checked where the home is opened, as for a home from the settings.
Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder with the database, journals, packages and inputs.", metavar="FOLDER", readable=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]
Url = Annotated[
    str | None, typer.Option("--url", envvar="RELEVO_URL", help="Ask this running server instead of the folder.", metavar="URL")
]
Key = Annotated[str | None, typer.Option("--key", envvar="RELEVO_KEY", help="Key to send to the server.", metavar="KEY")]

Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.", metavar="NUMBER")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Where the page before ended.", metavar="TEXT")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]

Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="RELEVO_CA", help="Certificates to trust over https, the server's own for one.", metavar="FILE"),
]


def load_command_settings(home: Path | None, *, toml: Path = PROJECT_FILE, **flags: object) -> Settings:
    """Loads the settings of a command in this folder, or in a project's folder. Raises UnknownSettingError, InvalidSettingError."""
    settings = load_settings({"home": home, **flags}, toml_path=toml if os.path.lexists(toml) else None)
    # matplotlib caches its font list: in the home, not in the user's own folders.
    os.environ.setdefault("MPLCONFIGDIR", str(settings.home.resolve() / "cache"))
    return settings


def require_home(home: Path | None) -> Settings:
    """Loads the settings of a command that needs an existing home. Raises NotFoundError when there is none, UsersLostError."""
    from relevo.server.home import had_users

    settings = load_command_settings(home)
    check_readable(settings.home)
    # A home with database.json had a database: then opening it reports what is missing.
    if not settings.database_url and not any((settings.home / name).exists() for name in ("relevo.db", "database.json")):
        if had_users(settings.home):
            raise UsersLostError
        raise NotFoundError.with_message(
            f"There is no Relevo home in {settings.home.resolve()}; `relevo train` and `relevo import` make one, "
            "--home names another."
        )
    return settings


def open_home(home: Path | None) -> Store:
    """Opens the store of an existing home. Raises NotFoundError when there is none, UsersLostError."""
    from relevo.server import open_store

    return open_store(require_home(home), begins=False)


def connect(url: str | None, key: str | None, ca: Path | None, *, home: Path | None = None, timeout: float = 30.0) -> Client:
    """Creates a client for the URL, else for the server of this folder's settings, of which it trusts only the certificate file.

    timeout: seconds per attempt. Raises ConfigError.
    """
    from relevo.client import Client

    if url:
        return Client(url, key, timeout, verify=ca)
    from relevo import server

    settings = load_command_settings(home)
    verify = ca or (server.pinned_context(server.certificate_path(settings)) if settings.encrypted else None)
    return Client(server.local_url(settings.host, settings.port, encrypted=settings.encrypted), key, timeout, verify=verify)


def current_user() -> str:
    """Name of the OS user, recorded as author; "unknown" if there is none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def confirm(question: str) -> bool:
    """Asks for confirmation; accepts yes in English or the current language. Raises typer.Abort at end of input."""
    answer = typer.prompt(f"{translate(question)} {phrase('[y/N]')}", default="", show_default=False, err=True)
    return answer.strip().casefold() in {"y", "yes", *phrase("y, yes").split(", ")}


def confirmed(question: str, *, yes: bool) -> None:
    """Returns only if the user confirms, or yes is set. question: translated, with the name of the object.

    Raises OriginError when the user declines, or when standard input is no terminal.
    """
    try:
        if yes or confirm(question):
            return
    except typer.Abort:
        if sys.stdin.isatty():
            raise
    raise OriginError(reason="nothing was changed; --yes does it without asking")


def with_settings_flags(command: Callable[..., None], only: Sequence[str] = ()) -> Callable[..., None]:
    """Adds one flag per setting to a command, which receives the loaded settings as `settings`. only: the settings it has."""

    def load(flags: dict[str, Any]) -> Settings:
        return load_command_settings(flags.pop("home"), **flags)

    return with_flags(command, "settings", [_flag(row) for row in SETTINGS if not only or row.name in only], load)


def with_flags(
    command: Callable[..., None], parameter: str, flags: Sequence[inspect.Parameter], read: Callable[[dict[str, Any]], Any]
) -> Callable[..., None]:
    """Replaces a parameter of a command by flags. read: makes the parameter's value of the values of the flags, by name."""
    parameters: list[inspect.Parameter] = []
    for own in inspect.signature(command, eval_str=True).parameters.values():
        parameters += flags if own.name == parameter else [own]

    @wraps(command)
    def run(**arguments: Any) -> None:
        values = {flag.name: arguments.pop(flag.name) for flag in flags}
        command(**{parameter: read(values)}, **arguments)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Typer reads the flags from it
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    del run.__wrapped__  # otherwise inspect would find the original signature
    return run


def _flag(row: Setting) -> inspect.Parameter:
    help_text = row.help if row.default in ("", None) else f"{row.help} [default: {row.default}]"
    metavar = "|".join(row.choices) or {int: "NUMBER", float: "NUMBER", Path: "FOLDER"}.get(row.kind, "TEXT")
    option = typer.Option(row.flag, help=help_text, metavar=metavar, rich_help_panel="Settings")
    return inspect.Parameter(row.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option])
