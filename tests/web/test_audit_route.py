"""The audit over HTTP: what was done, by whom, from where, and only for whom it is meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.web.web_world import prediction

from relevo.domain import ids
from relevo.domain.people import Principal, Role, Scope, Way
from relevo.web.routes.audit import read_by

if TYPE_CHECKING:
    import httpx
    from tests.web.web_world import World


def test_changes_over_http_are_on_record(world: World, client: httpx.Client) -> None:
    """An alias that is moved by a request, and a label, name the caller and its address."""
    world.store.registry.add(model="digits", digest="f" * 64, summary={}, who="test", at=datetime.now(UTC))
    client.put("/models/digits/aliases/champion", json={"version": 2, "reason": "fewer errors"}).raise_for_status()
    one = prediction()
    world.store.history.record([one])
    query_id = ids.text(one.id)
    client.put(f"/predictions/{query_id}/label", json={"value": "7"}).raise_for_status()
    newest, before = client.get("/audit", params={"limit": 2}).json()["items"]
    assert (newest["action"], newest["object"]) == ("label.give", f"prediction:{query_id}")
    assert (before["action"], before["before"], before["after"]) == ("alias.move", "1", "2")
    assert {(one["actor"], one["address"]) for one in (newest, before)} == {("open", "127.0.0.1")}
    assert len(newest["after"]) == 32


def test_the_record_is_read_by_pages_and_things(client: httpx.Client) -> None:
    """Pages follow each other, things narrow them, and a filter that is not known is refused."""
    first = client.get("/audit", params={"limit": 1, "object": "model:digits"}).json()
    rest = client.get("/audit", params={"object": "model:digits", "cursor": first["next_cursor"]}).json()
    assert [one["action"] for one in first["items"] + rest["items"]] == ["alias.move", "version.add"]
    assert client.get("/audit", params={"objet": "x"}).status_code == 422
    assert client.get("/audit", params={"cursor": "x"}).status_code == 422


def test_a_viewer_does_not_read_it(world: World, client: httpx.Client) -> None:
    """The record is for who operates; a key sees what was done to its own model."""
    at = datetime.now(UTC)
    cases = ((Role.VIEWER, [Scope.READ], 403), (Role.OPERATOR, [Scope.READ], 200), (Role.ADMIN, [Scope.PREDICT], 403))
    for role, scopes, status in cases:
        user = world.store.people.add_user(f"a {role}", role, at=at)
        key = world.store.people.add_key(user, "test", scopes, at=at)
        world.parts.door.roll = world.store.people.roll()
        assert client.get("/audit", headers={"authorization": f"Bearer {key}"}).status_code == status


def test_who_operates_one_model_reads_of_that_one() -> None:
    """A grant shows what was done to its model, a key no more than its own; a grant to look shows nothing."""
    someone = Principal(id="1", name="ana", way=Way.SESSION, grants={"digits": Role.OPERATOR, "churn": Role.VIEWER})
    assert read_by(someone) == ["digits"]
    assert read_by(replace(someone, role=Role.LABELER)) == ["digits"]
    assert read_by(replace(someone, role=Role.OPERATOR)) is None
    assert read_by(replace(someone, role=Role.ADMIN, only_model="rent")) == ["rent"]
