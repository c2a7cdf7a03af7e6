"""`relevo key`: creates, lists, rotates and revokes API keys. A key is shown only once; servers apply changes within a second."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.options import AsJson, Home, Yes, confirmed, require_home
from relevo.cli.output import say, show_json, show_table
from relevo.cli.translate import day, moment, phrase
from relevo.domain.access import Scope
from relevo.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from relevo.store.auth.api_keys import ApiKey, NewKey
    from relevo.store.auth.users import Users

group = typer.Typer(help="Keys for programs: make, list, rotate, revoke.", rich_markup_mode=None, no_args_is_help=True)

_SCOPES = "|".join(Scope)
KeyId = Annotated[str, typer.Argument(help="The key's id: the part of it that can be read, rlv_ and eight digits.", metavar="ID")]
Days = Annotated[
    int | None, typer.Option("--days", min=1, max=36_500, help="Days until it ends; without, it does not.", metavar="NUMBER")
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(group, name="key")


@group.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What the key is for, in your words.", metavar="NAME")],
    *,
    user: Annotated[str, typer.Option("--user", help="Its owner: no key may do more than they may.", metavar="USER")],
    scope: Annotated[list[str] | None, typer.Option("--scope", help="What it may do; again for each.", metavar=_SCOPES)] = None,
    model: Annotated[str | None, typer.Option("--model", help="The only model it is for.", metavar="MODEL")] = None,
    days: Days = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown this once. Without --scope it predicts and does nothing else."""
    from relevo import server

    users, now = _users(home), server.utc_now()
    scopes = [_scope(text) for text in scope or [Scope.PREDICT]]
    new_key = users.keys.add(users.get_by_name(user).id, name, scopes, model=model, ends=_expiry(now, days), at=now)
    _show_new_key(new_key, as_json=as_json)


@group.command("list")
def list_(
    *,
    user: Annotated[str | None, typer.Option("--user", help="Only theirs.", metavar="USER")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Every key, the newest first, those that ended among them."""
    from relevo import server

    users = _users(home)
    keys = list(users.keys.iter_all(None if user is None else users.get_by_name(user).id))
    if as_json:
        show_json([_to_json(key) for key in keys])
        return
    now = server.utc_now()
    rows = [(key.id, key.name, key.owner, " ".join(key.scopes), key.model or "", day(key.made), _state(key, now)) for key in keys]
    empty = phrase("There is no key yet: `relevo key add NAME --user USER`.")
    show_table(("id", "name", "user", "scopes", "model", "made", "state"), rows, empty=empty)


@group.command("revoke")
def revoke(key: KeyId, *, yes: Yes = False, home: Home = None, as_json: AsJson = False) -> None:
    """End a key for good, in every running server within a second. Asks first."""
    from relevo import server

    users = _users(home)
    existing = users.keys.get(key)
    question = phrase(
        "Revoke the key '{name}' ({id}) of {user}? It cannot be brought back.", name=existing.name, id=key, user=existing.owner
    )
    confirmed(question, yes=yes)
    revoked = users.keys.revoke(key, at=server.utc_now())
    if as_json:
        show_json(_to_json(revoked))
    else:
        say(phrase("{id} lets nobody in any more.", id=revoked.id))


@group.command("rotate")
def rotate(
    key: KeyId,
    *,
    overlap_hours: Annotated[
        float, typer.Option("--overlap-hours", min=0, max=8760, help="How long the old one goes on beside it.", metavar="NUMBER")
    ] = 24,
    days: Annotated[
        int | None,
        typer.Option(
            "--days",
            min=1,
            max=36_500,
            help="Days until the new one ends; without, it lasts as long as the old one, from made to its end, counted from now.",
            metavar="NUMBER",
        ),
    ] = None,
    yes: Yes = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key like this one; the old one ends after a while, so that programs can change over. Asks first."""
    from relevo import server

    users, now = _users(home), server.utc_now()
    existing = users.keys.get(key)
    question = phrase(
        "Change the key '{name}' ({id}) of {user} for a new one? The old one ends after {hours} hours.",
        name=existing.name, id=key, user=existing.owner, hours=f"{overlap_hours:g}",
    )  # fmt: skip
    confirmed(question, yes=yes)
    new_key = users.keys.rotate(key, at=now, old_ends=now + timedelta(hours=overlap_hours), ends=_expiry(now, days))
    _show_new_key(new_key, as_json=as_json)


def _users(home: Path | None) -> Users:
    from relevo import server

    return server.open_store(require_home(home), begins=False).users


def _show_new_key(new_key: NewKey, *, as_json: bool) -> None:
    if as_json:
        show_json({**_to_json(new_key.key), "key": new_key.secret})
        return
    say(new_key.secret)
    say(phrase("Keep it now: nobody can show it again. Programs send it as Authorization: Bearer …"))


def _to_json(key: ApiKey) -> dict[str, object]:
    from relevo.web.schemas.users import ApiKeyOut

    return ApiKeyOut.from_domain(key).model_dump(mode="json")


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked is not None:
        return phrase("revoked")
    if key.ends is not None and key.ends <= now:
        return phrase("over")
    if key.owner_disabled is not None:
        return phrase("its user is switched off")
    return phrase("counts") if key.ends is None else phrase("until {when}", when=moment(key.ends))


def _scope(text: str) -> Scope:
    try:
        return Scope(text)
    except ValueError:
        raise ConfigError(reason=f"a scope is one of {', '.join(Scope)}") from None


def _expiry(now: datetime, days: int | None) -> datetime | None:
    return None if days is None else now + timedelta(days=days)
