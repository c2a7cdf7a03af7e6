"""`relevo user`: manages users, roles and grants. Needs write access to the home; servers apply changes within a second."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.options import AsJson, Home, Yes, confirmed, load_command_settings, require_home
from relevo.cli.output import say, show_json, show_table, warn
from relevo.cli.translate import day, phrase
from relevo.domain.access import Role
from relevo.domain.password_policy import check_password
from relevo.errors import ConfigError, LastAdminError, WeakPasswordError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from relevo.server.stores import Store
    from relevo.store.auth.users import User, UserChange, Users

group = typer.Typer(help="Users: make them, give them roles, switch them off.", rich_markup_mode=None, no_args_is_help=True)

_NONE = "none"
_ROLES = "viewer|labeler|operator|admin"
Name = Annotated[str, typer.Argument(help="Name of the user.", metavar="NAME")]
WhichRole = Annotated[str, typer.Argument(help="The role from now on; none takes it away.", metavar=f"{_ROLES}|{_NONE}")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(group, name="user")


@group.command("add")
def add(
    name: Name,
    *,
    role: Annotated[str | None, typer.Option("--role", help="What they may do with every model.", metavar=_ROLES)] = None,
    grant: Annotated[
        list[str] | None,
        typer.Option("--grant", help="What they may do with one model: digits=labeler; again for each.", metavar="MODEL=ROLE"),
    ] = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="They sign in elsewhere, or only their keys are used.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a user. The password is asked for, or read from standard input.

    With the first user the server asks everybody who they are, so the first is an admin with a password.
    """
    from relevo import server
    from relevo.store.auth.password_hash import hash_password

    grants = dict(_parse_grant(text) for text in grant or ())
    global_role = _parse_role(role) if role is not None else None
    store = server.open_store(load_command_settings(home))
    users = store.users
    if users.access_snapshot().no_users and (global_role is not Role.ADMIN or no_password):
        raise LastAdminError
    password_hash = None if no_password else hash_password(_new_password(name, _model_names(store)))
    user_id = users.add_user(name, global_role, grants=grants, password_hash=password_hash, at=server.utc_now())
    _show_user(users.get(user_id), as_json=as_json, message=_welcome(name, may_something=bool(global_role or grants)))
    _warn_of_unknown_models(store, grants)


@group.command("list")
def list_(*, home: Home = None, as_json: AsJson = False) -> None:
    """Every user with role and grants."""
    users = list(_users(home).iter_all())
    if as_json:
        show_json([_to_json(user) for user in users])
        return
    rows = [(user.name, user.role or "", _grants_text(user), _state_text(user), day(user.made), user.id) for user in users]
    empty = phrase("Nobody is a user yet: `relevo user add NAME --role admin`. Until then this machine is asked nothing.")
    show_table(("name", "role", "grants", "state", "made", "id"), rows, empty=empty)


@group.command("role")
def role(name: Name, which: WhichRole, *, yes: Yes = False, home: Home = None, as_json: AsJson = False) -> None:
    """Give a user another role for every model. They sign in anew. Asks before a role is taken away."""
    from relevo.store.auth.users import UserChange

    change = UserChange(no_role=True) if which == _NONE else UserChange(role=_parse_role(which))
    question = phrase("Take the role for every model from {name}? Their sessions end.", name=name) if which == _NONE else ""
    _change(name, change, home, as_json=as_json, question=question, yes=yes)


@group.command("grant")
def grant(
    name: Name,
    model: Annotated[str, typer.Argument(help="The model it counts for.", metavar="MODEL")],
    which: WhichRole,
    *,
    yes: Yes = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Give a user a role for one model. They sign in anew. Asks before a role is taken away."""
    from relevo.store.auth.users import UserChange

    change = UserChange(grants={model: None if which == _NONE else _parse_role(which)})
    question = (
        phrase("Take the role for {model} from {name}? Their sessions end.", model=model, name=name) if which == _NONE else ""
    )
    _change(name, change, home, as_json=as_json, question=question, yes=yes)


@group.command("disable")
def disable(name: Name, *, yes: Yes = False, home: Home = None, as_json: AsJson = False) -> None:
    """Let a user in no longer: sessions end, keys count no more. Their name stays in the histories. Asks first."""
    from relevo.store.auth.users import UserChange

    question = phrase("Switch off {name}? Their sessions end, and their keys count no more.", name=name)
    _change(name, UserChange(disabled=True), home, as_json=as_json, question=question, yes=yes)


@group.command("enable")
def enable(name: Name, *, home: Home = None, as_json: AsJson = False) -> None:
    """Let a user in again who was switched off."""
    from relevo.store.auth.users import UserChange

    _change(name, UserChange(disabled=False), home, as_json=as_json)


@group.command("link")
def link(
    name: Name,
    *,
    issuer: Annotated[str, typer.Option("--issuer", help="The identity provider, as oidc_issuer names it.", metavar="URL")],
    subject: Annotated[str, typer.Option("--subject", help="What the provider calls that account (sub).", metavar="TEXT")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Let a user sign in with an account elsewhere. Their sessions end."""
    from relevo import server
    from relevo.store.auth.oidc_logins import ExternalIdentity

    users = _users(home)
    user = users.get_by_name(name)
    users.elsewhere.link_user(user.id, ExternalIdentity(issuer=issuer, subject=subject), at=server.utc_now())
    _show_user(
        users.get(user.id),
        as_json=as_json,
        message=phrase("{name} signs in at {issuer} from now on.", name=user.name, issuer=issuer),
    )


@group.command("password")
def password(name: Name, *, home: Home = None, as_json: AsJson = False) -> None:
    """Set a user's password: asked for, or read from standard input. Their sessions end."""
    from relevo import server
    from relevo.store.auth.password_hash import hash_password

    store = server.open_store(require_home(home), begins=False)
    users = store.users
    user = users.get_by_name(name)
    users.set_password(user.id, hash_password(_new_password(user.name, _model_names(store))), at=server.utc_now())
    _show_user(users.get(user.id), as_json=as_json, message=phrase("{name} has a new password.", name=user.name))


def _model_names(store: Store) -> list[str]:
    return [model.name for model in store.registry.models()]


def _users(home: Path | None) -> Users:
    from relevo import server

    return server.open_store(require_home(home), begins=False).users


def _change(name: str, change: UserChange, home: Path | None, *, as_json: bool, question: str = "", yes: bool = False) -> None:
    """Changes a user. question: asked first, unless it is empty."""
    from relevo import server

    store = server.open_store(require_home(home), begins=False)
    users = store.users
    user = users.get_by_name(name)
    if question:
        confirmed(question, yes=yes)
    changed = users.change_user(user.id, change, at=server.utc_now())
    message = phrase("{name}: {role}, {state}.", name=changed.name, role=_roles_text(changed), state=_state_text(changed))
    _show_user(changed, as_json=as_json, message=message)
    _warn_of_unknown_models(store, [model for model, role in change.grants.items() if role])


def _welcome(name: str, *, may_something: bool) -> str:
    if may_something:
        return phrase("{name} is a user now.", name=name)
    return phrase(
        "{name} is a user now, and may do nothing yet: `relevo user role` or `relevo user grant` gives a role.", name=name
    )


def _warn_of_unknown_models(store: Store, granted: Collection[str]) -> None:
    """Warns of grants for unknown models: they may be registered later, or the name is mistyped."""
    known = _model_names(store) if granted else []
    for model in granted:
        if model not in known:
            warn(phrase("No model called {model} is registered yet; the grant counts once there is one.", model=model))


def _show_user(user: User, *, as_json: bool, message: str) -> None:
    if as_json:
        show_json(_to_json(user))
    else:
        say(message)


def _to_json(user: User) -> dict[str, object]:
    from relevo.web.schemas.users import UserOut

    return UserOut.from_domain(user).model_dump(mode="json")


def _state_text(user: User) -> str:
    return phrase("switched off") if user.disabled else phrase("may come in")


def _grants_text(user: User) -> str:
    return ", ".join(f"{model}: {role}" for model, role in sorted(user.grants.items()))


def _roles_text(user: User) -> str:
    return ", ".join(filter(None, (str(user.role or ""), _grants_text(user)))) or phrase("no role")


def _parse_role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise ConfigError(reason=f"a role is one of {', '.join(Role)}") from None


def _parse_grant(text: str) -> tuple[str, Role]:
    model, separator, role = text.partition("=")
    if not separator:
        raise ConfigError(reason="--grant takes MODEL=ROLE, as digits=labeler")
    return model, _parse_role(role)


def _new_password(name: str, models: list[str]) -> str:
    """Reads a password: the first line of a pipe, or twice without echo. models: all model names. Raises WeakPasswordError."""
    if not sys.stdin.isatty():
        try:
            password = sys.stdin.readline().removesuffix("\n")
        except UnicodeDecodeError as cause:
            raise WeakPasswordError(reason="it is not UTF-8") from cause
        check_password(password, name, models)
        return password
    password = getpass.getpass(phrase("Password of {name}: ", name=name))
    check_password(password, name, models)
    if getpass.getpass(phrase("Once more: ")) != password:
        raise WeakPasswordError(reason="the two are not the same")
    return password
