"""Label endpoints: review, list, filter, curation, export."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.web_app import prediction

from relevo.domain import ids
from relevo.domain.access import Role, Scope
from relevo.domain.label_aggregation import AggregationStrategy, LabelAggregation
from relevo.store.auth.users import UserChange

if TYPE_CHECKING:
    import httpx
    from tests.support.web_app import World

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def keys(world: World) -> dict[str, dict[str, str]]:
    """Headers of three users: ana and eva are labelers, olga is an operator."""
    people, found = world.store.users, {}
    for name, role in (("ana", Role.LABELER), ("eva", Role.LABELER), ("olga", Role.OPERATOR)):
        key = people.add_key(people.add_user(name, role, at=NOW), name, list(Scope), at=NOW)
        found[name] = {"authorization": f"Bearer {key}"}
    world.context.authenticator.access = people.access_snapshot()
    return found


def recorded(world: World, count: int = 1, **facts: Any) -> list[str]:
    """Query ids of this many new predictions."""
    some = [prediction(**facts) for _ in range(count)]
    world.store.predictions.insert(some)
    return [ids.text(one.id) for one in some]


def test_labels_are_judged(world: World, client: httpx.Client, keys: dict[str, dict[str, str]]) -> None:
    """A rejected label does not count, an accepted one overrides later ones; reviews need permission and are audited."""
    one = recorded(world)[0]
    where = f"/predictions/{one}/label"
    first, second = (
        client.put(where, json={"value": value}, headers=keys[who]).json() for who, value in (("ana", "3"), ("eva", "5"))
    )
    assert (first["author"], first["verdict"]) == ("ana", "pending")
    address = f"{where}/{second['number']}/judgement"
    assert client.post(address, json={"verdict": "rejected"}, headers=keys["ana"]).json()["code"] == "not_allowed"
    judged = client.post(address, json={"verdict": "rejected", "reason": "blurred"}, headers=keys["olga"]).json()
    assert (judged["label"], [it["verdict"] for it in judged["history"]]) == ("3", ["pending", "rejected"])
    client.post(f"{where}/{first['number']}/judgement", json={"verdict": "accepted"}, headers=keys["olga"])
    client.put(where, json={"value": "8"}, headers=keys["eva"])
    assert client.get(where, headers=keys["olga"]).json()["label"] == "3"
    assert client.get("/predictions?truth=3", headers=keys["olga"]).json()["items"][0]["query_id"] == one
    missing = client.post(f"{where}/999/judgement", json={"verdict": "accepted"}, headers=keys["olga"])
    assert (missing.status_code, missing.json()["code"]) == (404, "label_not_found")
    acts = [it for it in client.get("/audit", headers=keys["olga"]).json()["items"] if it["action"] == "label.judge"]
    assert [it["after"] for it in acts] == ["accepted", "rejected"]


def test_everybody_has_a_vote(world: World, client: httpx.Client, keys: dict[str, dict[str, str]]) -> None:
    """An agreeing label by another user is stored, since majorities count users; a repeated one is not."""
    world.store.labels.apply_aggregation(LabelAggregation(strategy=AggregationStrategy.MAJORITY), at=NOW)
    one = recorded(world)[0]
    for who, value in (("ana", "3"), ("eva", "5"), ("olga", "3"), ("olga", "3")):
        client.put(f"/predictions/{one}/label", json={"value": value}, headers=keys[who])
    body = client.get(f"/predictions/{one}/label", headers=keys["olga"]).json()
    assert (body["label"], len(body["history"])) == ("3", 3)


def test_the_history_is_filtered_by_truth(world: World, client: httpx.Client) -> None:
    """truth= matches the effective label, labelled= whether there is one."""
    one, two, three = recorded(world, 3)
    for query_id, value in ((one, "3"), (two, "5"), (two, "3")):
        client.put(f"/predictions/{query_id}/label", json={"value": value})

    def found(query: str) -> set[str]:
        return {it["query_id"] for it in client.get(f"/predictions?{query}").json()["items"]}

    assert found("truth=3") == {one, two}
    assert found("truth=5") == set()
    assert found("labelled=true&model=digits") == {one, two}
    assert found("labelled=false") == {three}


def test_labels_are_listed(world: World, client: httpx.Client, keys: dict[str, dict[str, str]]) -> None:
    """Labels are listed newest first, paginated, with the prediction; labels of hidden models are not."""
    some = recorded(world, 3)
    for number, query_id in enumerate(some):
        client.put(f"/predictions/{query_id}/label", json={"value": str(number)}, headers=keys["ana" if number else "eva"])
    page = client.get("/labels?limit=2", headers=keys["olga"]).json()
    assert [(it["value"], it["prediction"], it["model"]) for it in page["items"]] == [("2", "7", "digits"), ("1", "7", "digits")]
    rest = client.get(f"/labels?cursor={page['next_cursor']}", headers=keys["olga"]).json()
    assert ([it["value"] for it in rest["items"]], rest["next_cursor"]) == (["0"], None)
    assert [it["value"] for it in client.get("/labels?author=eva", headers=keys["olga"]).json()["items"]] == ["0"]
    people = world.store.users
    user = people.add_user("vic", None, at=NOW)
    people.change_user(user, UserChange(grants={"churn": Role.VIEWER}), at=NOW)
    key = people.add_key(user, "vic", list(Scope), at=NOW)
    world.context.authenticator.access = people.access_snapshot()
    assert client.get("/labels", headers={"authorization": f"Bearer {key}"}).json()["items"] == []


def test_two_who_differ_make_a_third_be_asked(world: World, client: httpx.Client, keys: dict[str, dict[str, str]]) -> None:
    """A disputed prediction is queued for other users and for those who disagree."""
    one = recorded(world)[0]
    for who, value in (("ana", "3"), ("eva", "5")):
        client.put(f"/predictions/{one}/label", json={"value": value}, headers=keys[who])
    asked = client.get("/queue?model=digits", headers=keys["olga"]).json()["items"]
    assert [(it["query_id"], it["reason"], it["propensity"]) for it in asked] == [(one, "disagreement", 1.0)]
    client.put(f"/predictions/{one}/label", json={"value": "3"}, headers=keys["olga"])
    assert client.get("/queue?model=digits", headers=keys["olga"]).json()["items"] == []


def test_cleaning_tells_every_exclusion(world: World, client: httpx.Client) -> None:
    """Exclusions are listed with their reason, paginated; the rest is counted."""
    record = b'{"tenure": 5, "contract": "one_year"}'
    turned = b'{"contract":"one_year","tenure":5}'
    facts: dict[str, Any] = {"model": "churn", "label": "stays"}
    same = [recorded(world, **facts, input=data)[0] for data in (record, turned)]
    broken = recorded(world, **facts, input=b"{")[0]
    gone = recorded(world, **facts, input=None)[0]
    for query_id in (*same, broken, gone):
        assert client.put(f"/predictions/{query_id}/label", json={"value": "leaves"}).status_code == 200
    body = client.get("/models/churn/cleaning?limit=2").json()
    assert (body["kept"], body["counts"]) == (1, {"duplicate": 1, "unreadable": 1, "input_not_kept": 1})
    rest = client.get(f"/models/churn/cleaning?cursor={body['next_cursor']}").json()
    listed = {it["query_id"]: it for it in (*body["excluded"], *rest["excluded"])}
    assert {name: it["reason"] for name, it in listed.items()} == {
        same[1]: "duplicate",
        broken: "unreadable",
        gone: "input_not_kept",
    }
    assert listed[same[1]]["other"] == same[0]
    assert client.get("/models/nobody/cleaning").status_code == 404


def test_the_history_is_exported(world: World, client: httpx.Client, keys: dict[str, dict[str, str]]) -> None:
    """All filtered predictions are exported as CSV, with formula escaping; export needs permission."""
    some = recorded(world, 1001)
    recorded(world, model="churn", label="stays")
    note = {"value": "3", "note": "=1+1;=2"}
    asked = client.get("/queue?model=digits&limit=1", headers=keys["ana"]).json()["items"][0]
    client.put(f"/predictions/{asked['query_id']}/label", json=note, headers=keys["ana"])
    answer = client.get("/predictions.csv?model=digits", headers=keys["olga"])
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["query_id"] for row in rows} == set(some)
    (row,) = [row for row in rows if row["label"]]
    assert (row["query_id"], row["label"], row["author"], row["note"]) == (asked["query_id"], "3", "ana", "'=1+1;'=2")
    assert (row["asked_why"], float(row["asked_propensity"])) == ("random", 0.1)
    assert client.get("/predictions.csv", headers=keys["ana"]).json()["code"] == "not_allowed"
    assert len(client.get("/predictions.csv?labelled=true", headers=keys["olga"]).text.splitlines()) == 2
