"""The label queue on both databases: which items it assigns to whom, in which order, and with which propensity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from relevo.domain.ids import new_id
from relevo.domain.label_sampling import QueueItem, SamplingReason, sampling_key, sampling_threshold
from relevo.domain.prediction import Arm, Label, PredictionRecord
from relevo.errors import PredictionNotFoundError
from relevo.store.labels.queue import ALONE, LabelQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from relevo.store.labels.labels import Labels
    from relevo.store.predictions import PredictionStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)
START = 1_700_000_000_000


@pytest.fixture
def queue(engine: Engine) -> LabelQueue:
    return LabelQueue(engine, share=0.5)


@pytest.fixture
def with_sampling_key(prediction: Callable[..., PredictionRecord]) -> Callable[..., PredictionRecord]:
    """Builds predictions whose sampling key has this position in its range, 0..1."""

    def build(share: float, number: int = 0, **facts: Any) -> PredictionRecord:
        lot = round(share * 2**24).to_bytes(3, "big")
        return prediction(START + number, id=new_id(START + number, bytes(3) + lot + bytes(4)), **facts)

    return build


def kinds(asks: list[QueueItem]) -> list[tuple[bytes, str, float]]:
    return [(ask.prediction, ask.reason.value, ask.propensity) for ask in asks]


class TestLabelQueue:
    """The contract of the queue."""

    def test_items_are_ordered_by_reason(
        self, queue: LabelQueue, history: PredictionStore, labels: Labels, with_sampling_key: Callable[..., PredictionRecord]
    ) -> None:
        """Items are ordered by reason, then by sampling key; certain predictions beyond the share are left out; each has its propensity."""
        some = {
            "late": with_sampling_key(0.9, 1, uncertain=True),
            "early": with_sampling_key(0.1, 2, uncertain=True),
            "disputed": with_sampling_key(0.8, 3),
            "drawn": with_sampling_key(0.4, 4),
            "not drawn": with_sampling_key(0.6, 5),
            "failed": with_sampling_key(0.1, 6, error="model_failed", uncertain=True),
            "shadow": with_sampling_key(0.1, 7, arm=Arm.SHADOW),
            "not kept": with_sampling_key(0.1, 8, input=None, uncertain=True),
            "elsewhere": with_sampling_key(0.1, 9, model="churn", uncertain=True),
            "labelled": with_sampling_key(0.1, 10, uncertain=True),
        }
        history.insert(list(some.values()))
        for name, author, value in (("disputed", "bob", "7"), ("disputed", "cid", "9"), ("labelled", "bob", "7")):
            labels.put(Label(prediction=some[name].id, value=value, author=author, source="page", at=NOW))
        assert kinds(queue.next_items("digits", "ana", 9, now=NOW)) == [
            (some["early"].id, "uncertain", 1.0),
            (some["late"].id, "uncertain", 1.0),
            (some["disputed"].id, "disagreement", 1.0),
            (some["drawn"].id, "random", 0.5),
        ]

    def test_an_item_stays_until_it_is_completed(
        self, queue: LabelQueue, history: PredictionStore, labels: Labels, with_sampling_key: Callable[..., PredictionRecord]
    ) -> None:
        """An item stays assigned until it is labelled or skipped; then the next ones follow."""
        some = [with_sampling_key(number / 10, number, uncertain=True) for number in range(4)]
        history.insert(some)
        first = queue.next_items("digits", "ana", 2, now=NOW)
        assert queue.next_items("digits", "ana", 2, now=NOW) == first
        labels.put(Label(prediction=some[0].id, value="7", author="ana", source="page", at=NOW), user="ana")
        queue.skip(some[1].id, "ana", now=NOW)
        assert [ask.prediction for ask in queue.next_items("digits", "ana", 9, now=NOW)] == [some[2].id, some[3].id]
        with pytest.raises(PredictionNotFoundError):
            queue.skip(some[2].id, "eva", now=NOW)

    def test_people_get_different_items(
        self, queue: LabelQueue, history: PredictionStore, with_sampling_key: Callable[..., PredictionRecord]
    ) -> None:
        """A prediction assigned to one person is not assigned to another within an hour, unless it was skipped."""
        some = [with_sampling_key(number / 10, number, uncertain=True) for number in range(3)]
        history.insert(some)
        queue.next_items("digits", "ana", 2, now=NOW)
        assert [ask.prediction for ask in queue.next_items("digits", "eva", 9, now=NOW)] == [some[2].id]
        queue.skip(some[0].id, "ana", now=NOW)
        assert {ask.prediction for ask in queue.next_items("digits", "eva", 9, now=NOW)} == {some[0].id, some[2].id}
        later = NOW + ALONE + timedelta(seconds=1)
        assert len(queue.next_items("digits", "eva", 9, now=later)) == 3
        assert queue.was_asked(some[1].id, "eva", now=later)
        assert not queue.was_asked(some[2].id, "ana", now=later)
        assert queue.was_asked(some[0].id, "ana", now=NOW)
        assert not queue.was_asked(some[0].id, "ana", now=later)

    def test_a_disputed_item_waits_for_its_person(
        self, queue: LabelQueue, history: PredictionStore, labels: Labels, with_sampling_key: Callable[..., PredictionRecord]
    ) -> None:
        """The labels that make a dispute do not complete its item; a label by the assigned person does."""
        one = with_sampling_key(0.9)
        history.insert([one])
        for author, value in (("ana", "7"), ("eva", "9")):
            labels.put(Label(prediction=one.id, value=value, author=author, source="page", at=NOW))
        assert [ask.reason for ask in queue.next_items("digits", "bob", 5, now=NOW)] == [SamplingReason.DISAGREEMENT]
        assert queue.sampling_info([one.id, new_id(1)]) == {
            one.id: QueueItem(prediction=one.id, reason=SamplingReason.DISAGREEMENT, propensity=1.0)
        }
        labels.put(Label(prediction=one.id, value="7", author="bob", source="page", at=NOW), user="bob")
        assert queue.next_items("digits", "bob", 5, now=NOW) == []


def test_disagreeing_versions_are_assigned(
    queue: LabelQueue, history: PredictionStore, with_sampling_key: Callable[..., PredictionRecord]
) -> None:
    """An input that two versions label differently is assigned; with equal labels, or one version, it is not."""
    same, other = {"input": b"same"}, {"input": b"other"}
    some = [
        with_sampling_key(0.9, 1, version=1, label="7", **same),
        with_sampling_key(0.9, 2, version=2, label="9", **same),
        with_sampling_key(0.9, 3, version=1, label="7", **other),
        with_sampling_key(0.9, 4, version=2, label="7", **other),
        with_sampling_key(0.9, 5, version=2, label="3", input=b"once"),
        with_sampling_key(0.9, 6, version=2, label="4", input=b"once"),
    ]
    history.insert(some)
    assert kinds(queue.next_items("digits", "ana", 9, now=NOW)) == [(some[1].id, "disagreement", 1.0)]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.25, 1.0])
def test_the_sampling_rate_is_met(share: float) -> None:
    """About the configured share of many ids is sampled; none at 0, all at 1."""
    edge, count = sampling_threshold(share), 20_000
    drawn = sum(sampling_key(new_id(START)) < edge for _ in range(count))
    assert abs(drawn - share * count) <= 5 * (count * share * (1 - share)) ** 0.5


def test_any_prefix_of_the_queue_is_a_fair_sample(
    queue: LabelQueue, history: PredictionStore, prediction: Callable[..., PredictionRecord]
) -> None:
    """The items labelled first are spread over the whole period: the order is random, independent of time."""
    history.insert([prediction(START + number, uncertain=True) for number in range(1000)])
    asked = queue.next_items("digits", "ana", 100, now=NOW)
    moments = [int.from_bytes(ask.prediction[:6], "big") - START for ask in asked]
    assert abs(sum(moments) / 100 - 500) < 5 * 289 / 10


def test_only_the_newest_predictions_are_assigned(
    queue: LabelQueue, history: PredictionStore, with_sampling_key: Callable[..., PredictionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions outside the newest ones are not assigned; items assigned earlier stay."""
    monkeypatch.setattr("relevo.store.labels.queue.NEWEST", 3)
    first = [with_sampling_key(0.1, number, uncertain=number == 0) for number in range(3)]
    history.insert(first)
    assert {ask.prediction for ask in queue.next_items("digits", "ana", 9, now=NOW)} == {one.id for one in first}
    later = [with_sampling_key(0.1, 10 + number) for number in range(5)]
    history.insert(later)
    assert {ask.prediction for ask in queue.next_items("digits", "ana", 9, now=NOW)} == {one.id for one in [*first, *later[2:]]}
