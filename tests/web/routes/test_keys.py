"""API key endpoints: the secret is shown once, scopes apply, keys expire."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
from tests.support.login import add, code

from relevo.domain.access import Role

if TYPE_CHECKING:
    from tests.support.web_app import World


def who(world: World, address: str, key: str) -> httpx.Response:
    """The response of /me to this key, once the server has synced."""
    world.context.authenticator.access = world.store.users.access_snapshot()
    return httpx.get(f"{address}/me", headers={"authorization": f"Bearer {key}"})


def made(admin: httpx.Client, **wanted: Any) -> dict[str, Any]:
    """A new read key."""
    response = admin.post("/keys", json={"name": "shop", "scopes": ["read"], **wanted})
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    return dict(response.json())


def test_a_key_is_shown_once_and_lets_its_owner_in(world: World, address: str, admin: httpx.Client, ana: str) -> None:
    """The list shows everything except the secret."""
    key = made(admin, model="digits", days=30)
    assert key.pop("key").startswith(key["id"])
    assert (key["user"], key["owner"], key["scopes"], key["model"], key["revoked"]) == (ana, "ana", ["read"], "digits", None)
    assert datetime.fromisoformat(key["ends"]) - datetime.fromisoformat(key["made"]) == timedelta(days=30)
    assert admin.get("/keys").json()["keys"] == [key]
    me = who(world, address, made(admin, name="second", model="digits")["key"]).json()
    assert (me["name"], me["auth_method"], me["scopes"], me["model"]) == ("ana", "key", ["read"], "digits")
    assert me["csrf"] is None


def test_a_key_may_be_made_for_somebody_else(world: World, address: str, admin: httpx.Client) -> None:
    """A key for another user has at most their permissions."""
    bob = add(world, "bob", Role.VIEWER)
    key = made(admin, user=bob, scopes=["read", "operate"])
    assert who(world, address, key["key"]).json()["name"] == "bob"
    by_key = httpx.put(
        f"{address}/models/digits/aliases/champion",
        json={"version": 1, "reason": "x"},
        headers={"authorization": f"Bearer {key['key']}"},
    )
    assert code(by_key) == (403, "not_allowed")


def test_a_revoked_key_lets_nobody_in(world: World, address: str, admin: httpx.Client) -> None:
    """A revoked key stays in the list, with the time of its revocation."""
    key = made(admin)
    response = admin.delete(f"/keys/{key['id']}")
    assert response.status_code == 200
    assert response.json()["revoked"] is not None
    assert code(who(world, address, key["key"])) == (401, "not_known")
    assert admin.get("/keys").json()["keys"][0]["id"] == key["id"]
    assert code(admin.post(f"/keys/{key['id']}/rotate", json={})) == (404, "key_not_found")


def test_a_key_is_changed_for_a_new_one(world: World, address: str, admin: httpx.Client) -> None:
    """Both keys work for a day by default; without overlap the old one ends at once."""
    old = made(admin, model="digits")
    response = admin.post(f"/keys/{old['id']}/rotate", json={})
    assert response.status_code == 201
    new = response.json()
    assert (new["scopes"], new["model"], new["name"]) == (old["scopes"], "digits", "shop")
    assert who(world, address, old["key"]).status_code == who(world, address, new["key"]).status_code == 200
    ends = datetime.fromisoformat(next(one["ends"] for one in admin.get("/keys").json()["keys"] if one["id"] == old["id"]))
    assert ends - datetime.fromisoformat(new["made"]) == timedelta(hours=24)
    assert new["ends"] is None
    at_once = admin.post(f"/keys/{new['id']}/rotate", json={"overlap_hours": 0, "days": 7}).json()
    assert who(world, address, new["key"]).status_code == 401
    assert who(world, address, at_once["key"]).status_code == 200
    again = admin.post(f"/keys/{at_once['id']}/rotate", json={}).json()
    assert datetime.fromisoformat(again["ends"]) - datetime.fromisoformat(again["made"]) == timedelta(days=7)


def test_a_key_of_a_user_who_is_switched_off_says_so(world: World, address: str, admin: httpx.Client) -> None:
    """Keys of a disabled user are marked, rejected, cannot be rotated, and can be revoked."""
    bob = add(world, "bob", Role.VIEWER)
    key = made(admin, user=bob)
    assert key["owner_disabled"] is None
    since = admin.patch(f"/users/{bob}", json={"disabled": True}).json()["disabled"]
    assert admin.get("/keys", params={"user": bob}).json()["keys"][0]["owner_disabled"] == since
    assert code(who(world, address, key["key"])) == (401, "not_known")
    assert code(admin.post(f"/keys/{key['id']}/rotate", json={})) == (403, "forbidden")
    assert admin.delete(f"/keys/{key['id']}").json()["revoked"] is not None


def test_what_cannot_be_a_key_is_refused(admin: httpx.Client) -> None:
    """Invalid requests create no key."""
    for wanted, refused in (
        ({"scopes": []}, (422, "parameter_wrong")),
        ({"scopes": ["administer"]}, (422, "parameter_wrong")),
        ({"user": "nobody"}, (404, "user_not_found")),
        ({"model": "../digits"}, (422, "parameter_wrong")),
        ({"days": 0}, (422, "parameter_wrong")),
        ({"name": "a\nb"}, (422, "parameter_wrong")),
        ({"secret": "mine"}, (422, "parameter_wrong")),
    ):
        assert code(admin.post("/keys", json={"name": "shop", "scopes": ["read"], **wanted})) == refused, wanted
    assert admin.get("/keys").json()["keys"] == []


def test_how_a_key_is_sent(world: World, address: str, admin: httpx.Client) -> None:
    """`Bearer` in any case; other schemes give 401, never a 500."""
    key = made(admin)["key"]
    world.context.authenticator.access = world.store.users.access_snapshot()
    with httpx.Client(base_url=address) as caller:
        for sent in (f"Bearer {key}", f"bearer {key}", f"BEARER  {key}"):
            assert caller.get("/me", headers={"authorization": sent}).status_code == 200, sent
        for sent in ("Bearer", "Bearer x y", "Basic YW5hOngK", f"Token {key}", key, f"Bearer {key}x", f"Bearer {key[:-1]}"):
            assert caller.get("/me", headers={"authorization": sent}).status_code == 401, sent


def test_keys_come_in_pages(admin: httpx.Client, ana: str) -> None:
    """Newest first, paginated, filtered by user."""
    ids = [made(admin, name=f"k{number}")["id"] for number in range(5)]
    first = admin.get("/keys", params={"limit": 3}).json()
    rest = admin.get("/keys", params={"limit": 3, "cursor": first["next_cursor"], "user": ana}).json()
    assert [one["id"] for one in first["keys"] + rest["keys"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert admin.get("/keys", params={"user": "nobody"}).json() == {"keys": [], "next_cursor": None}
    assert admin.get("/keys", params={"cursor": "x"}).status_code in {400, 422}
