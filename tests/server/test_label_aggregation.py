"""The settings for labels take effect in the processes of a server."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from relevo.config import Settings
from relevo.domain.ids import new_id
from relevo.domain.label_aggregation import AggregationStrategy, LabelAggregation
from relevo.domain.prediction import Arm, InputKind, Label, PredictionRecord
from relevo.server import open_store
from relevo.server.admin import LabelCuration
from relevo.server.background import _prepare_store

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def prediction(number: int, **facts: Any) -> PredictionRecord:
    record = b'{"n": %d}' % number
    sent: dict[str, Any] = {
        "id": new_id(number),
        "at_us": number,
        "model": "churn",
        "version": 1,
        "arm": Arm.CHAMPION,
        "propensity": 1.0,
        "epoch": 1,
    }
    return PredictionRecord(**sent, kind=InputKind.RECORD, input=record, input_bytes=len(record), predicted_label="stays", **facts)


def label(it: PredictionRecord, author: str, value: str = "leaves") -> Label:
    return Label(prediction=it.id, value=value, author=author, source="page", at=NOW)


def test_the_rule_and_the_trusted_are_as_set(tmp_path: Path) -> None:
    """label_aggregation and trusted_label_sources apply once the background process has started, to older labels too."""
    settings = Settings(home=tmp_path, label_aggregation="trusted", trusted_label_sources="csv, author:ana")
    store = open_store(settings)
    it = prediction(1)
    store.predictions.insert([it])
    store.labels.put_many([label(it, "ana", "stays"), label(it, "eva")])
    assert store.predictions.count(truth="leaves") == 1
    _prepare_store(settings, store)
    assert store.labels.aggregation() == LabelAggregation(
        strategy=AggregationStrategy.TRUSTED, trusted_sources=("author:ana", "csv")
    )
    assert store.predictions.count(truth="stays") == 1
    # Another process, whose own settings say nothing, follows the rule in the store.
    assert open_store(Settings(home=tmp_path)).labels.resolved(it.id) == label(it, "ana", "stays")


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 30, 70), (1.0, 100, 100)])
def test_the_drawn_share_is_as_set(tmp_path: Path, share: float, least: int, most: int) -> None:
    """label_sampling_rate is the share of certain predictions that are queued for labelling."""
    store = open_store(Settings(home=tmp_path, label_sampling_rate=share))
    store.predictions.insert([prediction(number) for number in range(100)])
    assert least <= len(store.label_queue.next_items("churn", "ana", 100, now=NOW)) <= most


def test_an_authors_share_is_as_set(tmp_path: Path) -> None:
    """max_author_share limits the share of one author in the curated data, beyond a few hundred labels."""
    store = open_store(Settings(home=tmp_path))
    some = [prediction(number) for number in range(1300)]
    store.predictions.insert(some)
    store.labels.put_many([label(it, "eva" if number < 700 else f"calm {number % 6}") for number, it in enumerate(some)])
    kept = {
        share: len(
            LabelCuration(store.predictions, store.labels, Settings(home=tmp_path, max_author_share=share)).report("churn").kept
        )
        for share in (0.3, 0.5, 1.0)
    }
    assert kept == {0.3: 1100, 0.5: 1200, 1.0: 1300}


def test_a_look_is_remembered_until_a_label_comes(tmp_path: Path) -> None:
    """Concurrent requests share one curation report until a new label changes it."""
    store = open_store(Settings(home=tmp_path))
    some = [prediction(number) for number in range(3)]
    store.predictions.insert(some)
    store.labels.put(label(some[0], "ana"))
    curation = LabelCuration(store.predictions, store.labels, Settings(home=tmp_path))
    result: list[object] = []
    threads = [threading.Thread(target=lambda: result.append(curation.report("churn"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in result}) == 1
    store.labels.put(label(some[1], "ana"))
    assert curation.report("churn").kept == (some[0].id, some[1].id)
