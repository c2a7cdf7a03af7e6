"""Authentication middleware: every route has an access rule, and requests without permission are denied."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from fastapi.routing import APIRoute

from relevo.domain.access import Role, Scope
from relevo.web.app import build_api
from relevo.web.auth.access_rules import RULES, find_rule
from relevo.web.auth.guard import NOT_LOADED

if TYPE_CHECKING:
    import httpx
    from tests.support.web_app import World


@pytest.fixture
def key(world: World) -> str:
    """A predict key; creating it adds the first user."""
    user = world.store.users.add_user("ana", Role.ADMIN, at=datetime.now(UTC))
    made = world.store.users.add_key(user, "test", [Scope.PREDICT], at=datetime.now(UTC))
    world.context.authenticator.access = world.store.users.access_snapshot()
    return made


def test_every_route_is_classified(world: World) -> None:
    """A route without an access rule fails this test."""
    api = build_api(world.context)
    for room in api.state.routers:
        for route in room.routes:
            assert isinstance(route, APIRoute)
            for method in route.methods or ():
                rule, _ = find_rule(method, route.path)
                assert rule is not None, f"{method} {route.path} stands in no row of web/auth/access_rules.py"
                assert rule.path.count("{") == route.path.count("{")


def test_no_row_is_for_a_route_that_is_gone(world: World) -> None:
    """Every access rule belongs to an existing route."""
    api = build_api(world.context)
    there = {(method, route.path_format) for room in api.state.routers for route in room.routes for method in route.methods or ()}
    there |= {("POST", path) for path in ("/predict", "/predict/", "/submit", "/models/{name}/predict")}
    assert {(rule.method, rule.path) for rule in RULES} == there


def test_without_users_nobody_is_asked(client: httpx.Client) -> None:
    """Without users, all requests are served."""
    assert client.get("/models").status_code == 200


@pytest.mark.usefixtures("key")
def test_with_users_nobody_comes_in_unasked(client: httpx.Client) -> None:
    """With users, all paths but the public ones require authentication, unknown paths included."""
    for rule in RULES:
        path = rule.path.replace("{name}", "digits").replace("{version}", "1").replace("{alias}", "champion")
        answer = client.request(rule.method, path.replace("{query_id}", "x").replace("{address}", "x"))
        assert (answer.status_code == 401) is not rule.public, path
    assert client.get("/secret-plans").json()["code"] == "not_known"


def test_a_predict_key_predicts_and_reads_nothing(client: httpx.Client, key: str) -> None:
    """A predict key cannot list models or read the history."""
    client.headers["authorization"] = f"Bearer {key}"
    assert client.post("/predict", json={}).status_code not in {401, 403}
    assert client.get("/predictions").json()["code"] == "not_allowed"
    assert client.get("/models").json()["code"] == "not_allowed"
    client.headers["authorization"] = f"Bearer {key[:-1]}"
    assert client.post("/predict", json={}).json()["code"] == "not_known"


def test_whether_it_is_ready_is_told_to_all_and_of_what_to_those_who_may_see_it(client: httpx.Client, world: World) -> None:
    """Readiness needs no key; model names and reasons need authentication."""
    well = {"ok": True, "code": "", "reason": "", "exchanged": None}
    assert [one["name"] for one in client.get("/health/ready").json()["models"]] == ["churn", "digits", "rent"]
    user = world.store.users.add_user("ana", None, grants={"digits": Role.VIEWER}, at=datetime.now(UTC))
    reader = world.store.users.add_key(user, "test", [Scope.READ], at=datetime.now(UTC))
    world.context.authenticator.access = world.store.users.access_snapshot()
    assert client.get("/health/ready").json() == {"ready": True, "reason": "", "models": [], "store": well}
    known = client.get("/health/ready", headers={"authorization": f"Bearer {reader}"}).json()
    assert [one["name"] for one in known["models"]] == ["digits"]
    world.service.reason = "the model 'churn' is not loaded"
    response = client.get("/health/ready")
    assert (response.status_code, "churn" in response.text) == (503, False)


def test_until_the_store_has_told_nobody_is_let_in(world: World, client: httpx.Client) -> None:
    """A server that has never read its store answers 503, not 401."""
    world.context.authenticator.access = NOT_LOADED
    answer = client.get("/models")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert client.get("/health/live").status_code == 200
