"""`relevo models`: lists models, versions and aliases, moves aliases, and shows the history of moves."""

from __future__ import annotations

from typing import Annotated

import typer

from relevo.cli.options import AsJson, Home, Yes, confirmed, current_user, require_home
from relevo.cli.output import say, show_json, show_table
from relevo.cli.package_summary import Force, show_takeover
from relevo.cli.translate import moment, phrase

group = typer.Typer(help="List models, versions and aliases; move an alias.", rich_markup_mode=None)

_CHAMPION = "champion"
Name = Annotated[str, typer.Argument(help="Name of the model.", metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(group, name="models")


@group.callback(invoke_without_command=True)
def models(context: typer.Context, *, home: Home = None, as_json: AsJson = False) -> None:
    """List models, versions and aliases; move an alias."""
    if context.invoked_subcommand is not None:
        return
    from relevo import server

    registry = server.open_store(require_home(home), begins=False).registry
    registered = registry.models()
    if as_json:
        show_json(
            [{"name": model.name, "versions": registry.versions(model.name), "aliases": model.aliases} for model in registered]
        )
        return
    rows = [(model.name, model.versions, _aliases(model.aliases)) for model in registered]
    show_table(("model", "versions", "aliases"), rows, empty="No model is registered yet: `relevo train` or `relevo import`.")


@group.command("show")
def show(name: Name, *, home: Home = None, as_json: AsJson = False) -> None:
    """The versions of one model, newest first."""
    from relevo import server

    registry = server.open_store(require_home(home), begins=False).registry
    versions, aliases = registry.versions(name), registry.aliases(name)
    if as_json:
        show_json({"name": name, "versions": versions, "aliases": aliases})
        return
    names = {number: ", ".join(sorted(alias for alias, at in aliases.items() if at == number)) for number in aliases.values()}
    rows = [(entry.number, names.get(entry.number), moment(entry.at), entry.author, entry.digest[:12]) for entry in versions]
    show_table(("version", "aliases", "registered", "by", "package"), rows, empty="")


@group.command("alias")
def alias(
    name: Name,
    which: Annotated[str, typer.Argument(help="The alias to move; champion answers requests.", metavar="ALIAS")],
    version: Annotated[int, typer.Argument(help="The version it names from now on.", metavar="VERSION")],
    *,
    why: Annotated[str, typer.Option("--why", help="The reason, kept in the alias's history.", metavar="TEXT")],
    force: Force = False,
    yes: Yes = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Let an alias name another version. Running servers follow within a second, without a failed request.

    Asks before another version answers requests.
    """
    from relevo import server
    from relevo.package.documents import takeover_of

    store, now = server.open_store(require_home(home), begins=False), server.utc_now()
    registry = store.registry
    registry.version(name, version)
    current = registry.aliases(name).get(which)
    if which == _CHAMPION and current not in (None, version):
        takeover = takeover_of(registry, store.packages, name, version)
        if takeover is not None:
            # Rejects before the confirmation prompt.
            takeover.allowed(why, force=force)
            if not as_json:
                show_takeover(takeover)
        question = phrase(
            "Let version {version} of {model} answer requests in place of version {before}?",
            version=version, model=name, before=current,
        )  # fmt: skip
        confirmed(question, yes=yes)
    move = server.move_alias(store, name, which, version, author=current_user(), reason=why, at=now, force=force)
    if as_json:
        show_json(move)
    elif move.at < now:
        say(f"{name}: {which} stands at version {move.version} already; nothing was changed, and no reason kept.")
    else:
        say(f"{name}: {which} names version {move.version} now ({_before(move.previous)}).")


@group.command("history")
def history(name: Name, *, home: Home = None, as_json: AsJson = False) -> None:
    """Every move of the model's aliases, newest first: who, when and why."""
    from relevo import server

    moves = server.open_store(require_home(home), begins=False).registry.alias_history(name)
    if as_json:
        show_json(moves)
        return
    rows = [(moment(move.at), move.alias, move.previous, move.version, move.author, move.reason) for move in moves]
    show_table(("when", "alias", "from", "to", "who", "why"), rows, empty="No alias of this model has moved yet.")


def _aliases(aliases: dict[str, int]) -> str:
    return ", ".join(f"{name} → {version}" for name, version in sorted(aliases.items()))


def _before(previous: int | None) -> str:
    return "it was not set before" if previous is None else f"version {previous} before"
