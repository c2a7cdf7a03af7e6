"""The audit endpoints: actions with actor and address, and read permissions."""

from __future__ import annotations

import ast
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.web_app import prediction

from relevo.domain import ids
from relevo.domain.access import AuthMethod, Principal, Role, Scope
from relevo.web.routes.audit import audited_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from tests.support.web_app import World

SOURCE = Path(__file__).parents[3] / "src" / "relevo"
#: The stores, as the routes access them.
STORES = ("people", "keys", "sessions", "elsewhere", "registry", "labels", "erasing")


def test_changes_over_http_are_on_record(world: World, client: httpx.Client) -> None:
    """An alias change and a label are recorded with the caller and its address."""
    world.store.registry.add(model="digits", digest="f" * 64, summary={}, author="test", at=datetime.now(UTC))
    client.put("/models/digits/aliases/champion", json={"version": 2, "reason": "fewer errors"}).raise_for_status()
    one = prediction()
    world.store.predictions.insert([one])
    query_id = ids.text(one.id)
    client.put(f"/predictions/{query_id}/label", json={"value": "7"}).raise_for_status()
    newest, before = client.get("/audit", params={"limit": 2}).json()["items"]
    assert (newest["action"], newest["object"]) == ("label.give", f"prediction:{query_id}")
    assert (before["action"], before["before"], before["after"]) == ("alias.move", "1", "2")
    assert {(one["actor"], one["address"]) for one in (newest, before)} == {("open", "127.0.0.1")}
    assert len(newest["after"]) == 32


def test_the_record_is_read_by_pages_and_things(client: httpx.Client) -> None:
    """Pagination, filters by object, and rejection of unknown filters."""
    first = client.get("/audit", params={"limit": 1, "object": "model:digits"}).json()
    rest = client.get("/audit", params={"object": "model:digits", "cursor": first["next_cursor"]}).json()
    assert [one["action"] for one in first["items"] + rest["items"]] == ["alias.move", "version.add"]
    assert client.get("/audit", params={"objet": "x"}).status_code == 422
    assert client.get("/audit", params={"cursor": "x"}).status_code == 422


def test_a_viewer_does_not_read_it(world: World, client: httpx.Client) -> None:
    """Reading the audit requires the operator role; a key sees entries of its own model."""
    at = datetime.now(UTC)
    cases = ((Role.VIEWER, [Scope.READ], 403), (Role.OPERATOR, [Scope.READ], 200), (Role.ADMIN, [Scope.PREDICT], 403))
    for role, scopes, status in cases:
        user = world.store.users.add_user(f"a {role}", role, at=at)
        key = world.store.users.add_key(user, "test", scopes, at=at)
        world.context.authenticator.access = world.store.users.access_snapshot()
        assert client.get("/audit", headers={"authorization": f"Bearer {key}"}).status_code == status


def test_who_operates_one_model_reads_of_that_one() -> None:
    """An operator grant shows entries of its model; a viewer grant shows none."""
    someone = Principal(id="1", name="ana", auth_method=AuthMethod.SESSION, grants={"digits": Role.OPERATOR, "churn": Role.VIEWER})
    assert audited_models(someone) == ["digits"]
    assert audited_models(replace(someone, role=Role.LABELER)) == ["digits"]
    assert audited_models(replace(someone, role=Role.OPERATOR)) is None
    assert audited_models(replace(someone, role=Role.ADMIN, restricted_to="rent")) == ["rent"]


def test_every_change_by_a_route_names_its_caller() -> None:
    """Every store method with a `by` parameter gets it from the routes, never the default."""
    changing = {
        node.name
        for path in (SOURCE / "store").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and any(one.arg == "by" for one in node.args.kwonlyargs)
    }
    assert {"move_alias", "put", "erase", "change_user"} <= changing
    calls = [(path.name, call) for path in (SOURCE / "web").rglob("*.py") for call in _changes(path, changing)]
    assert len(calls) > 5
    for name, call in calls:
        # For `**options`, the dictionary literal is in the same function.
        names_actor = any(keyword.arg in {"by", None} for keyword in call.keywords)
        assert names_actor, f"{name}:{call.lineno} does not say who changes it"


def _changes(path: Path, changing: set[str]) -> Iterator[ast.Call]:
    """Calls of these methods, including those passed to a thread."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        for called in (node.func, *node.args[:1]):
            if isinstance(called, ast.Attribute) and called.attr in changing:
                store = ast.unparse(called.value).rpartition(".")[2]
                if store in STORES:
                    yield node
