"""Label queue endpoints: items per user, skipping, and access to the inputs of one's own items."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.web_app import prediction

from relevo.domain import ids
from relevo.domain.access import Role, Scope

if TYPE_CHECKING:
    import httpx
    from tests.support.web_app import World

#: Its sampling key is the smallest possible, so it is always sampled.
DRAWN = bytes(16)
#: The largest possible sampling key.
NEVER_DRAWN = b"\xff" * 16


@pytest.fixture
def doubtful(world: World) -> str:
    """An uncertain prediction of the digits model."""
    one = prediction(uncertain=True, confidence=0.3)
    world.store.predictions.insert([one])
    return ids.text(one.id)


def key_of(world: World, name: str, role: Role) -> str:
    user = world.store.users.add_user(name, role, at=datetime.now(UTC))
    scopes = [Scope.LABEL] if role is Role.LABELER else [Scope.READ]
    key = world.store.users.add_key(user, name, scopes, at=datetime.now(UTC))
    world.context.authenticator.access = world.store.users.access_snapshot()
    return f"Bearer {key}"


def test_an_uncertain_answer_is_asked_about(client: httpx.Client, doubtful: str) -> None:
    """An uncertain prediction is in the queue, with all data needed to label it, until it is labelled."""
    asked = client.get("/queue", params={"model": "digits", "limit": 5}).json()["items"]
    assert asked == [
        {
            "query_id": doubtful,
            "model": "digits",
            "version": 1,
            "prediction": "7",
            "confidence": 0.3,
            "reason": "uncertain",
            "propensity": 1.0,
            "kind": "record",
            "input_kept": True,
        }
    ]
    assert client.get("/queue?model=digits").json()["items"] == asked
    client.put(f"/predictions/{doubtful}/label", json={"value": "3"})
    assert client.get("/queue?model=digits").json()["items"] == []


def test_what_is_skipped_does_not_come_back(client: httpx.Client, doubtful: str) -> None:
    """A skipped item does not return; skipping an unknown item is an error."""
    assert client.post(f"/queue/{doubtful}/skip").status_code == 404
    client.get("/queue?model=digits")
    assert client.post(f"/queue/{doubtful}/skip").status_code == 204
    assert client.get("/queue?model=digits").json()["items"] == []


def test_a_labeler_sees_the_inputs_of_their_own_queue(world: World, client: httpx.Client, doubtful: str) -> None:
    """Inputs are visible to the labeler with the item and to operators, not to other labelers or viewers."""
    other = prediction(id=NEVER_DRAWN)
    world.store.predictions.insert([other])
    ana, eva, vic = (
        key_of(world, name, role) for name, role in (("ana", Role.LABELER), ("eva", Role.LABELER), ("vic", Role.VIEWER))
    )
    client.headers["authorization"] = ana
    where = f"/predictions/{doubtful}/input"
    assert client.get(where).json()["code"] == "not_allowed"
    assert [one["query_id"] for one in client.get("/queue?model=digits").json()["items"]] == [doubtful]
    assert client.get(where).status_code == 200
    assert client.get(f"/predictions/{ids.text(other.id)}/input").json()["code"] == "not_allowed"
    for key in (eva, vic):
        client.headers["authorization"] = key
        assert client.get(where).json()["code"] == "not_allowed"


def test_a_viewer_has_no_queue(world: World, client: httpx.Client) -> None:
    """The queue requires the labeler role."""
    client.headers["authorization"] = key_of(world, "vic", Role.VIEWER)
    assert client.get("/queue?model=digits").json()["code"] == "not_allowed"
