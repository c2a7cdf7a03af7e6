"""`relevo user` and `relevo key` on a local home, from the first admin on."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.server import put

from relevo import server
from relevo.cli.app import run
from relevo.cli.translate import set_language
from relevo.config import Settings
from relevo.domain.access import Role, Scope
from relevo.store.auth.password_hash import verify_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.package.package import Package
    from relevo.store.auth.users import Users

PASSWORD = "correct horse battery"  # noqa: S105 - of users who live as long as a test


@pytest.fixture
def relevo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs a command on its own home; returns exit code and output. typed: standard input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANG", "C")

    def say(*words: str, typed: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        ended = run([*words, "--home", str(tmp_path / "home")])
        said = capsys.readouterr()
        # What a command warns of stands beside its JSON, not in it.
        return ended, said.out if "--json" in words and not ended else said.out + said.err

    yield say
    set_language("en")


@pytest.fixture
def people(tmp_path: Path) -> Callable[[], Users]:
    """The users of the home, from the store."""
    return lambda: server.open_store(Settings(home=tmp_path / "home")).users


def shown(printed: tuple[int, str]) -> Any:
    """The JSON output of a command."""
    assert printed[0] == 0, printed[1]
    return json.loads(printed[1])


def test_the_first_admin_takes_one_command(relevo: Callable[..., tuple[int, str]], people: Callable[[], Users]) -> None:
    """In an empty folder; the password is read without echo, stored as a hash, and never printed."""
    output = relevo("user", "add", "ana", "--role", "admin", typed=f"{PASSWORD}\n")
    assert output == (0, "ana is a user now.\n")
    assert verify_password(people().sign_in("ana")[1], PASSWORD)
    assert shown(relevo("user", "list", "--json"))[0]["role"] == "admin"


def test_the_first_user_is_an_admin(relevo: Callable[..., tuple[int, str]]) -> None:
    """The first user must be an admin, so that the home stays manageable."""
    for words in (["--role", "viewer"], ["--role", "admin", "--no-password"], []):
        ended, printed = relevo("user", "add", "ana", *words, typed=f"{PASSWORD}\n")
        assert (ended, "last_admin" in printed) == (1, True)


@pytest.mark.parametrize(
    ("language", "absent", "powerless"),
    [
        ("en", "No model called gatos is registered yet", "eva is a user now, and may do nothing yet"),
        ("es", "Aún no hay registrado ningún modelo llamado gatos", "Usuario creado: eva. Aún no puede hacer nada"),
    ],
)
def test_what_a_new_user_may_not_do_is_said(
    relevo: Callable[..., tuple[int, str]],
    people: Callable[[], Users],
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    absent: str,
    powerless: str,
) -> None:
    """A grant for an unknown model is stored with one warning; removing it gives none."""
    monkeypatch.setenv("RELEVO_LANGUAGE", language)
    relevo("user", "add", "ana", "--role", "admin", typed=f"{PASSWORD}\n")
    ended, printed = relevo("user", "add", "pepe", "--grant", "gatos=labeler", "--no-password")
    assert (ended, printed.count(absent), powerless in printed) == (0, 1, False)
    assert relevo("user", "grant", "pepe", "gatos", "operator")[1].count(absent) == 1
    assert people().get_by_name("pepe").grants == {"gatos": Role.OPERATOR}
    assert absent not in relevo("user", "grant", "pepe", "gatos", "none", "--yes")[1]
    assert powerless in relevo("user", "add", "eva", "--no-password")[1]


def test_a_grant_on_a_model_that_is_there_warns_of_nothing(
    relevo: Callable[..., tuple[int, str]], tmp_path: Path, digits_package: Package
) -> None:
    """A grant for a registered model gives no warning, also among several."""
    relevo("user", "add", "ana", "--role", "admin", typed=f"{PASSWORD}\n")
    put(Settings(home=tmp_path / "home"), digits_package)
    ended, printed = relevo("user", "add", "pepe", "--grant", "digits=labeler", "--grant", "gatos=viewer", "--no-password")
    assert (ended, printed.count("registered yet"), "gatos" in printed) == (0, 1, True)


@pytest.mark.parametrize("typed", ["", "short\n", "aaaaaaaaaaaaaaa\n"])
def test_a_password_too_easy_is_refused(relevo: Callable[..., tuple[int, str]], typed: str) -> None:
    """A weak password is rejected and not printed."""
    ended, printed = relevo("user", "add", "ana", "--role", "admin", typed=typed)
    assert ended == 1
    assert "password_refused" in printed
    assert not typed or typed.strip() not in printed


def test_a_user_from_beginning_to_end(relevo: Callable[..., tuple[int, str]], people: Callable[[], Users]) -> None:
    """Created with grants, given others, a new password, disabled and enabled; each step is printed and stored."""
    relevo("user", "add", "ana", "--role", "admin", typed=f"{PASSWORD}\n")
    created = shown(relevo("user", "add", "bob", "--grant", "digits=labeler", "--grant", "churn=viewer", "--no-password", "--json"))
    assert created["grants"] == {"digits": "labeler", "churn": "viewer"}
    assert shown(relevo("user", "role", "bob", "operator", "--json"))["role"] == "operator"
    assert shown(relevo("user", "grant", "bob", "churn", "none", "--yes", "--json"))["grants"] == {"digits": "labeler"}
    assert relevo("user", "role", "bob", "none", "--yes") == (0, "bob: digits: labeler, may come in.\n")
    assert relevo("user", "password", "bob", typed=f"{PASSWORD}\n") == (0, "bob has a new password.\n")
    assert relevo("user", "disable", "bob", "--yes") == (0, "bob: digits: labeler, switched off.\n")
    assert people().sign_in("bob") == (None, None)
    assert relevo("user", "enable", "bob")[0] == 0
    assert verify_password(people().sign_in("bob")[1], PASSWORD)
    table = relevo("user", "list")[1]
    assert "digits: labeler" in table
    assert "argon2" not in table


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["user", "role", "nobody", "viewer"], "user_not_found"),
        (["user", "role", "ana", "king"], "config_refused"),
        (["user", "role", "ana", "viewer"], "last_admin"),
        (["user", "disable", "ana", "--yes"], "last_admin"),
        (["user", "add", "bob", "--grant", "digits", "--no-password"], "config_refused"),
        (["user", "add", "ana", "--no-password"], "name_taken"),
        (["key", "add", "shop", "--user", "nobody"], "user_not_found"),
        (["key", "add", "shop", "--user", "ana", "--scope", "all"], "config_refused"),
        (["key", "revoke", "rlv_nobodys"], "key_not_found"),
        (["key", "rotate", "rlv_nobodys"], "key_not_found"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else one,
)
def test_what_cannot_be_done_is_told(relevo: Callable[..., tuple[int, str]], words: list[str], code: str) -> None:
    """Errors have codes, and change nothing."""
    relevo("user", "add", "ana", "--role", "admin", typed=f"{PASSWORD}\n")
    before = relevo("user", "list", "--json")
    ended, printed = relevo(*words)
    assert (ended, code in printed) == (1, True), printed
    assert relevo("user", "list", "--json") == before


def test_a_key_from_beginning_to_end(relevo: Callable[..., tuple[int, str]], people: Callable[[], Users]) -> None:
    """Shown once, listed without its secret, rotated, revoked."""
    relevo("user", "add", "ana", "--role", "admin", typed=f"{PASSWORD}\n")
    ended, printed = relevo("key", "add", "shop", "--user", "ana", "--scope", "predict", "--scope", "read", "--model", "digits")
    assert ended == 0
    secret = printed.splitlines()[0]
    key = next(people().keys.iter_all())
    assert secret.startswith(key.id)
    assert (key.scopes, key.model, key.ends) == (("predict", "read"), "digits", None)
    listed = relevo("key", "list")[1]
    assert key.id in listed
    assert secret not in listed
    new = shown(relevo("key", "rotate", key.id, "--yes", "--overlap-hours", "1", "--days", "30", "--json"))
    assert new["key"].startswith(new["id"])
    assert people().keys.get(key.id).ends is not None
    relevo("key", "rotate", new["id"], "--yes")
    newest = next(people().keys.iter_all())
    assert newest.ends is not None
    assert (newest.ends - newest.made).days == 30
    assert shown(relevo("key", "revoke", new["id"], "--yes", "--json"))["revoked"] is not None
    assert [one["id"] for one in shown(relevo("key", "list", "--user", "ana", "--json"))] == [newest.id, new["id"], key.id]
    assert "revoked" in relevo("key", "list")[1]


@pytest.mark.parametrize(("language", "state"), [("en", "its user is switched off"), ("es", "su usuario está desactivado")])
def test_a_key_of_a_user_who_is_switched_off_is_not_shown_as_one_that_counts(
    relevo: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, language: str, state: str
) -> None:
    """The list shows why it is invalid, with or without expiry; expired keys stay expired; it cannot be rotated."""
    relevo("user", "add", "ana", "--role", "admin", typed=f"{PASSWORD}\n")
    relevo("user", "add", "bob", "--role", "viewer", "--no-password")
    more = {"shop": (), "till": ("--days", "9"), "desk": ()}
    keys = [shown(relevo("key", "add", name, "--user", "bob", *words, "--json"))["id"] for name, words in more.items()]
    relevo("key", "revoke", keys[2], "--yes")
    relevo("user", "disable", "bob", "--yes")
    monkeypatch.setenv("RELEVO_LANGUAGE", language)
    assert relevo("key", "list")[1].count(state) == 2
    ended, printed = relevo("key", "rotate", keys[0], "--yes")
    assert (ended, "(forbidden)" in printed) == (1, True), printed
    assert len(shown(relevo("key", "list", "--json"))) == 3


def test_where_nothing_is_nothing_is_made(relevo: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """Commands that only read create no home."""
    for words in (["user", "list"], ["key", "list"], ["user", "disable", "ana", "--yes"]):
        assert relevo(*words)[0] == 1
    assert not (tmp_path / "home").exists()


def test_a_name_cannot_steer_the_terminal(relevo: Callable[..., tuple[int, str]]) -> None:
    """A name with control characters is rejected, and the error escapes them."""
    ended, printed = relevo("user", "add", "a\x1b[2Jb", "--role", "admin", typed=f"{PASSWORD}\n")
    assert ended == 1
    assert "\x1b" not in printed


def test_an_account_elsewhere_is_linked(relevo: Callable[..., tuple[int, str]], people: Callable[[], Users]) -> None:
    """A user without a password signs in with OIDC; an external account belongs to one user."""
    assert relevo("user", "add", "boss", "--role", "admin", typed=PASSWORD + "\n")[0] == 0
    assert relevo("user", "add", "ana", "--role", "viewer", "--no-password")[0] == 0
    account = ("--issuer", "https://id.example", "--subject", "7")
    assert relevo("user", "link", "ana", *account) == (0, "ana signs in at https://id.example from now on.\n")
    assert people().get_by_identity("https://id.example", "7").name == "ana"
    code, printed = relevo("user", "link", "boss", *account)
    assert (code, printed.rstrip().endswith("(account_taken)")) == (1, True)


def test_lists_are_walked_to_their_end(
    relevo: Callable[..., tuple[int, str]], people: Callable[[], Users], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists longer than one database page are shown completely."""
    monkeypatch.setattr("relevo.store.auth.users.MOST_ITEMS", 2)
    monkeypatch.setattr("relevo.store.auth.api_keys.MOST_ITEMS", 2)
    store, at = people(), datetime.now(UTC)
    for number in range(5):
        user = store.add_user(f"u{number}", Role.VIEWER, at=at)
        store.keys.add(user, f"k{number}", [Scope.READ], at=at)
    assert [one["name"] for one in shown(relevo("user", "list", "--json"))] == [f"u{number}" for number in range(5)]
    assert len(shown(relevo("key", "list", "--json"))) == 5
    assert len(shown(relevo("key", "list", "--user", "u1", "--json"))) == 1


def test_what_cannot_be_undone_is_asked_by_name(relevo: Callable[..., tuple[int, str]], people: Callable[[], Users]) -> None:
    """Each prompt names the object; no answer and a no change nothing; a yes and --yes do it."""
    relevo("user", "add", "ana", "--role", "admin", typed=PASSWORD + "\n")
    relevo("user", "add", "bob", "--grant", "digits=labeler", "--no-password")
    key = shown(relevo("key", "add", "nightly job", "--user", "ana", "--json"))["id"]
    for words, named in (
        (["key", "revoke", key], f"'nightly job' ({key}) of ana"),
        (["key", "rotate", key], f"'nightly job' ({key}) of ana"),
        (["user", "disable", "bob"], "Switch off bob?"),
        (["user", "role", "ana", "none"], "from ana?"),
        (["user", "grant", "bob", "digits", "none"], "the role for digits from bob?"),
        (["erase", "--subject", "Pérez"], "'Pérez'"),
        (["audit", "rotate-key"], "with a new key"),
    ):
        before = len(list(people().keys.iter_all())), people().get_by_name("bob").grants, people().get_by_name("bob").disabled
        for typed in ("", "n\n", "\n"):
            code, printed = relevo(*words, typed=typed)
            assert (code, named in printed, "--yes" in printed) == (1, True, True), printed
        assert (
            len(list(people().keys.iter_all())),
            people().get_by_name("bob").grants,
            people().get_by_name("bob").disabled,
        ) == before
        assert people().keys.get(key).revoked is None
    assert relevo("key", "revoke", key, typed="y\n")[0] == 0
    assert people().keys.get(key).revoked is not None
