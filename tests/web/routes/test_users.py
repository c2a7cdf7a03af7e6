"""User endpoints: admins create and change users, users set their own password."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
from tests.support.login import PASSWORD, add, code, cookie, signed_in

from relevo.domain.access import Role, Scope

if TYPE_CHECKING:
    from tests.support.web_app import World

OTHER = "another good password"


def test_the_first_user_is_an_admin_with_a_password(client: httpx.Client, world: World) -> None:
    """Otherwise no one could log in."""
    for lacking in ({"role": "viewer", "password": PASSWORD}, {"role": "admin"}, {"password": PASSWORD}):
        assert code(client.post("/users", json={"name": "ana", **lacking})) == (409, "last_admin")
    made = client.post("/users", json={"name": "ana", "role": "admin", "password": PASSWORD})
    assert made.status_code == 201
    world.context.authenticator.access = world.store.users.access_snapshot()
    assert client.get("/users").status_code == 401


def test_a_user_is_made_listed_and_changed(admin: httpx.Client) -> None:
    """Responses repeat the stored values, never a password hash."""
    made = admin.post("/users", json={"name": "bob", "role": "viewer", "grants": {"digits": "labeler"}, "password": PASSWORD})
    assert made.status_code == 201
    assert made.json() | {"name": "bob", "role": "viewer", "grants": {"digits": "labeler"}, "has_password": True} == made.json()
    where = f"/users/{made.json()['id']}"
    assert admin.get(where).json() == made.json()
    assert [one["name"] for one in admin.get("/users").json()["users"]] == ["ana", "bob"]
    changed = admin.patch(where, json={"role": None, "grants": {"digits": None, "churn": "operator"}, "name": "rob"}).json()
    assert (changed["role"], changed["grants"], changed["name"]) == (None, {"churn": "operator"}, "rob")
    assert admin.patch(where, json={"disabled": True}).json()["disabled"] is not None
    assert admin.patch(where, json={"disabled": False}).json()["disabled"] is None
    assert "argon2" not in admin.get("/users").text


def test_what_cannot_be_a_user_is_refused(admin: httpx.Client) -> None:
    """Invalid requests create no user."""
    for wanted, refused in (
        ({"name": "ana", "password": PASSWORD}, (409, "name_taken")),
        ({"name": "bob", "password": "short"}, (422, "password_refused")),
        ({"name": " bob"}, (422, "field_wrong_type")),
        ({"name": "bob", "role": "king"}, (422, "parameter_wrong")),
        ({"name": "bob", "grants": {"../digits": "viewer"}}, (422, "parameter_wrong")),
        ({"name": "bob", "id": "1"}, (422, "parameter_wrong")),
    ):
        assert code(admin.post("/users", json=wanted)) == refused, wanted
    assert len(admin.get("/users").json()["users"]) == 1


def test_the_last_admin_cannot_step_down(admin: httpx.Client, ana: str) -> None:
    """The last admin cannot lose the role or be disabled."""
    assert code(admin.patch(f"/users/{ana}", json={"role": "viewer"})) == (409, "last_admin")
    assert code(admin.patch(f"/users/{ana}", json={"disabled": True})) == (409, "last_admin")
    assert admin.get("/me").json()["role"] == "admin"


def test_nobody_is_not_found(admin: httpx.Client) -> None:
    """An unknown id gives 404."""
    for told in (
        admin.get("/users/x"),
        admin.patch("/users/x", json={}),
        admin.post("/users/x/password", json={"password": OTHER}),
    ):
        assert code(told) == (404, "user_not_found")


def test_ones_own_password_takes_the_one_before(world: World, address: str, ana: str) -> None:
    """Changing one's password needs the current one, renews the session and ends all others."""
    assert ana
    bob = add(world, "bob", Role.VIEWER)
    with signed_in(address, "bob") as caller, signed_in(address, "bob") as elsewhere:
        where, before = f"/users/{bob}/password", cookie(caller)
        assert code(caller.post(where, json={"password": OTHER})) == (401, "sign_in_refused")
        assert code(caller.post(where, json={"password": OTHER, "current": "wrong password"})) == (401, "sign_in_refused")
        assert code(caller.post(where, json={"password": "short", "current": PASSWORD})) == (422, "password_refused")
        response = caller.post(where, json={"password": OTHER, "current": PASSWORD})
        assert response.status_code == 200
        assert cookie(caller) != before
        assert caller.get("/me").json()["csrf"] == response.headers["x-csrf-token"]
        time.sleep(0.35)  # the session cache's lifetime
        assert elsewhere.get("/me").status_code == 401
        assert code(elsewhere.post("/login", json={"name": "bob", "password": PASSWORD})) == (401, "sign_in_refused")
    with signed_in(address, "bob", password=OTHER):
        pass


def test_an_admin_sets_anybodys_password_and_others_only_their_own(
    world: World, address: str, admin: httpx.Client, ana: str
) -> None:
    """Viewers set only their own password, and keys none."""
    bob = add(world, "bob", Role.VIEWER)
    key = world.store.users.add_key(ana, "test", list(Scope), at=datetime.now(UTC))
    world.context.authenticator.access = world.store.users.access_snapshot()
    with signed_in(address, "bob") as caller:
        assert code(caller.post(f"/users/{ana}/password", json={"password": OTHER, "current": PASSWORD})) == (403, "not_allowed")
    by_key = httpx.post(f"{address}/users/{ana}/password", json={"password": OTHER}, headers={"authorization": f"Bearer {key}"})
    assert code(by_key) == (403, "not_allowed")
    assert admin.post(f"/users/{bob}/password", json={"password": OTHER}).status_code == 200
    with signed_in(address, "bob", password=OTHER):
        pass


def test_every_change_says_who_made_it_and_from_where(world: World, admin: httpx.Client, ana: str) -> None:
    """The audit records actor and address, by id only."""
    bob = admin.post("/users", json={"name": "bob", "role": "viewer", "password": PASSWORD}).json()["id"]
    admin.patch(f"/users/{bob}", json={"role": "labeler"})
    links = world.store.audit_reader.page(object=f"user:{bob}", actor=None, limit=10, cursor=None).items
    assert [(one.actor, one.action, one.address) for one in links] == [
        (f"user:{ana}", "user.role", "127.0.0.1"),
        (f"user:{ana}", "user.add", "127.0.0.1"),
    ]


def test_users_come_in_pages(admin: httpx.Client, world: World) -> None:
    """By name, paginated, filtered by a part of the name; an invalid cursor is rejected."""
    for number in range(5):
        world.store.users.add_user(f"u{number}", Role.VIEWER, at=datetime.now(UTC))
    first = admin.get("/users", params={"limit": 4}).json()
    assert [one["name"] for one in first["users"]] == ["ana", "u0", "u1", "u2"]
    rest = admin.get("/users", params={"limit": 4, "cursor": first["next_cursor"]}).json()
    assert ([one["name"] for one in rest["users"]], rest["next_cursor"]) == (["u3", "u4"], None)
    assert [one["name"] for one in admin.get("/users", params={"name": "U3"}).json()["users"]] == ["u3"]
    for wrong in ({"cursor": "x"}, {"limit": 201}, {"limit": 0}, {"role": "admin"}):
        assert admin.get("/users", params=wrong).status_code in {400, 422}, wrong
