"""Versions change under load without a failed request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.support.chaos import (
    ROUNDS,
    Clients,
    Comparison,
    Seen,
    compare,
    image_questions,
    metrics,
    say,
    talking,
    total,
    until,
)
from tests.support.server import put, settings_of, started

if TYPE_CHECKING:
    import httpx

    from relevo.package.package import Package

pytestmark = pytest.mark.chaos

_WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """What came of it; read by every test of this file."""

    swaps: int
    seen: Seen
    comparison: Comparison
    counted: dict[int, float]  # by version
    swaps_counted: float
    refusals_counted: float


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, digits_package: Package, digits_package_2: Package, digit_pngs: list[bytes]
) -> Relay:
    """Move the alias to and fro between two versions while several connections ask."""
    place = tmp_path_factory.mktemp("swaps")
    settings = settings_of(place, workers=_WORKERS, route_poll_ms=20)
    versions = {put(settings, package): package for package in (digits_package, digits_package_2)}
    questions = image_questions(digit_pngs, versions)
    swaps = max(ROUNDS, 100)
    with started(settings) as server, talking(server.url) as client:
        with Clients(server.url, questions, place / "ledgers", threads=4) as clients:
            assert until(lambda: clients.answered() > 20, within_s=20)
            for number in range(swaps):
                _move(client, to=1 + number % 2)
        # Each worker publishes its counts twice a second, later when the machine is busy.
        until(lambda: sum(_by_version(client).values()) >= len(clients.seen.rows), within_s=10)
        told = Relay(
            swaps=swaps,
            seen=clients.seen,
            comparison=compare(settings, clients.seen, questions),
            counted=_by_version(client),
            swaps_counted=total(client, "relevo_model_swaps_total"),
            refusals_counted=total(client, "relevo_request_errors_total"),
        )
    say(
        f"{swaps} swaps: {told.seen.requests} requests, refused {told.seen.refused}, broken {told.seen.broken}, "
        f"wrong {told.seen.wrong}, slowest {told.seen.slowest_s * 1000:.0f} ms, "
        f"{told.swaps_counted:.0f} handovers in {_WORKERS} workers"
    )
    return told


def _move(client: httpx.Client, *, to: int) -> None:
    """Move the alias, and wait until an answer names the version."""
    done = client.put("/models/digits/aliases/champion", json={"version": to, "reason": "the test turns"})
    assert done.status_code == 200, done.text
    assert until(lambda: client.get("/models/digits").json()["serving"] == to, within_s=20, every_s=0.01)


def _by_version(client: httpx.Client) -> dict[int, float]:
    counted: dict[int, float] = {}
    for (name, labels), value in metrics(client).items():
        if name == "relevo_predictions_total":
            version = int(dict(labels)["version"])
            counted[version] = counted.get(version, 0) + value
    return counted


def test_a_swap_fails_no_request(relay: Relay) -> None:
    """A hundred swaps under load: no refusal, no broken connection, and each swap truly happened."""
    assert relay.seen.refused == {}
    assert (relay.seen.broken, relay.seen.stuck) == (0, 0)
    assert relay.swaps_counted >= relay.swaps - 1


def test_each_answer_is_that_of_the_version_it_names(relay: Relay) -> None:
    """Label and probabilities equal what the named version's package answers by itself."""
    assert relay.seen.wrong == 0
    assert {row.version for row in relay.seen.rows} == {1, 2}


def test_every_answer_around_a_swap_is_in_the_history_under_its_version(relay: Relay) -> None:
    """A retired lane records its last answers before it goes."""
    assert (relay.comparison.missing, relay.comparison.doubled, relay.comparison.different, relay.comparison.beyond) == (0, 0, 0, 0)


def test_the_scrape_equals_the_clients_ledger(relay: Relay) -> None:
    """Over several workers and all swaps, each version's counter is the number of answers clients got from it."""
    for version in (1, 2):
        assert relay.counted[version] == sum(row.version == version for row in relay.seen.rows)
    assert relay.refusals_counted == 0
