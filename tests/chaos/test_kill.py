"""kill -9 at any moment: what was acknowledged is in the history, once, as it was answered."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.chaos import (
    ROUNDS,
    Clients,
    Comparison,
    Question,
    Seen,
    children,
    compare,
    kill,
    say,
    scaled,
    talking,
    total,
    until,
)
from tests.support.server import put, settings_of, started

import relevo.server

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.package import Package

pytestmark = pytest.mark.chaos

#: More workers than cores, so that there is nearly always one to kill and one to answer.
_WORKERS = 3
#: Rows acknowledged between one kill and the next.
_ROWS_BETWEEN = 40
#: The counts of half a second die with a worker; a second more for one that was slow to write them.
_FLUSH_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class War:
    """What came of it; read by every test of this file."""

    rounds: int
    killed: dict[str, int]
    seconds: float
    seen: Seen
    comparison: Comparison
    counted: float  # by /metrics
    damaged: int


@pytest.fixture(scope="module")
def war(
    tmp_path_factory: pytest.TempPathFactory, digits_package: Package, churn_package: Package, questions: list[Question]
) -> War:
    """Kill workers and the loop under load, for as many rounds as were asked for."""
    place = tmp_path_factory.mktemp("kill")
    settings = settings_of(place, workers=_WORKERS, spool_rotate_s=2)
    put(settings, digits_package)
    put(settings, churn_package)
    draw = random.Random(7)  # noqa: S311 - moments and victims, no secret
    rounds = ROUNDS or 10
    killed = {"worker": 0, "loop": 0}
    with started(settings) as server:
        begin = time.monotonic()
        with Clients(server.url, questions, place / "ledgers") as clients:
            while sum(killed.values()) < rounds:
                _under_load(clients)
                time.sleep(draw.uniform(0.0, 0.5))
                name = "loop" if draw.random() < 0.3 else "worker"
                victims = children(server.pid, name)
                if victims:
                    kill(draw.choice(victims))
                    killed[name] += 1
        seconds = time.monotonic() - begin
        with talking(server.url) as client:
            counted = total(client, "relevo_predictions_total")
        comparison = compare(settings, clients.seen, questions)
    damaged = len(list(settings.spool_folder.rglob("*.damaged*")))
    told = War(
        rounds=rounds, killed=killed, seconds=seconds, seen=clients.seen, comparison=comparison, counted=counted, damaged=damaged
    )
    say(
        f"{rounds} kills ({killed}) in {seconds:.0f} s: {comparison.acknowledged} rows of {told.seen.requests} requests "
        f"acknowledged, {comparison.missing} missing, {comparison.doubled} doubled, {comparison.different} different, "
        f"{comparison.beyond} beyond; {told.seen.broken} broken connections, longest wait {told.seen.slowest_s:.2f} s; "
        f"{counted:.0f} counted"
    )
    return told


def _has_answered(clients: Clients, rows: int) -> bool:
    return clients.answered() > rows


def _under_load(clients: Clients) -> None:
    """Wait until answers flow: killing what does not answer yet proves nothing."""
    before = clients.answered()
    until(lambda: clients.answered() >= before + _ROWS_BETWEEN, within_s=15, every_s=0.02)


def test_every_acknowledged_prediction_is_in_the_history_once(war: War) -> None:
    """No acknowledged id is missing or there twice, whatever was killed and when."""
    assert war.comparison.acknowledged > 0.9 * _ROWS_BETWEEN * war.rounds
    assert (war.comparison.missing, war.comparison.doubled) == (0, 0)


def test_what_the_history_holds_is_what_was_answered(war: War) -> None:
    """Label, version and the input's bytes are those of the acknowledged answer; no journal was damaged."""
    assert war.comparison.different == 0
    assert war.damaged == 0


def test_clients_see_only_broken_connections_that_a_retry_mends(war: War) -> None:
    """No rejected request, no wrong response, no request that never ends."""
    assert war.killed["worker"] > 0
    assert war.seen.refused == {}
    assert (war.seen.wrong, war.seen.stuck) == (0, 0)


def test_counters_lose_at_most_what_a_killed_worker_had_not_told_yet(war: War) -> None:
    """The scrape is the clients' ledger, less half a second's counts a kill, more the answers that broken connections swallowed."""
    acknowledged = war.comparison.acknowledged
    rate = acknowledged / war.seconds
    assert war.counted <= acknowledged + war.comparison.beyond
    assert war.counted >= acknowledged - war.killed["worker"] * rate * _FLUSH_S


def test_everything_killed_at_once_loses_nothing(
    tmp_path: Path, digits_package: Package, churn_package: Package, questions: list[Question]
) -> None:
    """Supervisor, workers and loop killed together under load: a new server on the same home ships what was acknowledged."""
    settings = settings_of(tmp_path, workers=2)
    put(settings, digits_package)
    put(settings, churn_package)
    rows: list[Any] = []
    for number in range(scaled(1, 5)):
        server = relevo.server.start_server(settings)
        server.wait_ready(60)
        clients = Clients(server.url, questions, tmp_path / f"ledgers-{number}", threads=3)
        enough = partial(_has_answered, clients, 200)
        assert until(enough, within_s=20)
        for pid in [server.pid, *children(server.pid)]:
            kill(pid)
        # The address is gone: clients that still send requests stop on request.
        clients.give_up()
        assert server.stop() == -signal.SIGKILL
        rows += clients.seen.rows
    with started(settings):
        comparison = compare(settings, Seen(rows=rows), questions)
    assert comparison.acknowledged > 200
    assert (comparison.missing, comparison.doubled, comparison.different) == (0, 0, 0)
