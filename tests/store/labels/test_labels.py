"""Labels on both databases: all are kept, and the aggregation rule selects the resolved one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from relevo.domain.ids import new_id
from relevo.domain.label_aggregation import AggregationStrategy, LabelAggregation
from relevo.domain.prediction import Label, PredictionRecord, ReviewStatus
from relevo.errors import LabelNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from relevo.store.labels.labels import Labels
    from relevo.store.predictions import PredictionStore

AT = datetime(2026, 3, 1, 12, 30, 0, 7, tzinfo=UTC)


def label(prediction: bytes, value: str, minutes: int = 0) -> Label:
    return Label(
        prediction=prediction, value=value, author="ana", source="page", at=AT + timedelta(minutes=minutes), note="está claro"
    )


class TestLabels:
    """The contract of the labels."""

    def test_a_label_is_read_back(self, labels: Labels) -> None:
        """A label is read back with all its fields."""
        given = label(new_id(1), "7")
        labels.put(given)
        assert labels.for_prediction(given.prediction) == [given]

    def test_a_correction_keeps_the_old(self, labels: Labels) -> None:
        """The label stored last applies, whatever its time, and earlier ones stay."""
        one = new_id(1)
        first, second = label(one, "7", minutes=5), label(one, "9", minutes=0)
        labels.put(first)
        labels.put(second)
        assert labels.for_prediction(one) == [first, second]
        assert labels.resolved(one) == second

    def test_a_repeated_label_is_stored_once(self, labels: Labels) -> None:
        """An author's repeated label is not stored again and the existing one is returned; other authors may give the same label."""
        one = new_id(1)
        first = labels.put(label(one, "7"))
        assert first.serial > 0
        assert labels.put(label(one, "7", minutes=5)) == first
        other = labels.put(replace(label(one, "7"), author="bob"))
        assert (other.author, other.serial) == ("bob", first.serial + 1)
        corrected = labels.put(label(one, "9"))
        again = labels.put(label(one, "7"))
        assert [it.serial for it in labels.for_prediction(one)] == [it.serial for it in (first, other, corrected, again)]

    def test_an_unlabelled_prediction_has_no_label(self, labels: Labels) -> None:
        """An unlabelled prediction has no resolved label."""
        assert labels.resolved(new_id(1)) is None
        assert labels.for_prediction(new_id(1)) == []

    @pytest.mark.parametrize("count", [0, 3, 1201])
    def test_many_labels_are_read_at_once(self, labels: Labels, count: int) -> None:
        """One call returns the resolved labels of a page or more; unlabelled predictions are left out."""
        ids = [new_id(number) for number in range(count)]
        for prediction in ids[::400]:
            labels.put(label(prediction, "7"))
            labels.put(label(prediction, "9"))
        found = labels.resolved_many(iter(ids))
        assert {prediction: it.value for prediction, it in found.items()} == dict.fromkeys(ids[::400], "9")

    def test_labels_cannot_be_changed_by_sql(self, labels: Labels, engine: Engine) -> None:
        """A label cannot be updated, not even by SQL."""
        labels.put(label(new_id(1), "7"))
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text("UPDATE labels SET value = '9'"))

    def test_unstorable_characters_are_replaced(self, labels: Labels) -> None:
        """Characters that no database stores are replaced in a note."""
        one = new_id(1)
        labels.put(Label(prediction=one, value="7", author="ana", source="api", at=AT, note="a\x00b"))
        assert labels.for_prediction(one)[0].note == "a\ufffdb"


MAJORITY = LabelAggregation(strategy=AggregationStrategy.MAJORITY)


def said(prediction: bytes, author: str, value: str) -> Label:
    return Label(prediction=prediction, value=value, author=author, source="page", at=AT)


@pytest.fixture
def known(history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> list[bytes]:
    """Ids of five stored predictions."""
    some = [prediction(1_700_000_000_000 + number) for number in range(5)]
    history.insert(some)
    return [it.id for it in some]


class TestResolvedLabels:
    """The resolved label is stored with its prediction and follows every change."""

    def test_filters_follow_the_labels(self, labels: Labels, history: PredictionStore, known: list[bytes]) -> None:
        """A label, a correction and a review each affect the next query of the prediction log."""
        one = known[0]
        for value in ("7", "9"):
            labels.put(said(one, "ana", value))
            assert [it.prediction.id for it in history.page(truth=value).items] == [one]
        last = labels.for_prediction(one)[-1]
        labels.review(one, last.serial, ReviewStatus.REJECTED, reviewer="olga", at=AT, reason="blurred")
        assert history.count(truth="9") == 0
        assert history.count(truth="7", labelled=True) == 1
        labels.review(one, last.serial, ReviewStatus.ACCEPTED, reviewer="olga", at=AT)
        assert labels.resolved(one) == last
        assert history.count(labelled=False) == 4

    def test_a_new_rule_recomputes_every_label(self, labels: Labels, history: PredictionStore, known: list[bytes]) -> None:
        """A new rule applies to all labels, old and new, in every process; setting the same rule again does nothing."""
        labels.put_many([said(one, who, value) for one in known for who, value in (("ana", "7"), ("eva", "7"), ("bob", "9"))])
        assert history.count(truth="9") == 5
        assert labels.apply_aggregation(MAJORITY, at=AT) == 5
        assert labels.apply_aggregation(MAJORITY, at=AT) == 0
        assert (history.count(truth="7"), labels.aggregation()) == (5, MAJORITY)
        labels.put(said(known[0], "eva", "9"))
        assert history.count(truth="9") == 1

    def test_an_interrupted_recomputation_is_finished(
        self, labels: Labels, engine: Engine, history: PredictionStore, known: list[bytes]
    ) -> None:
        """After a crash during the recomputation the next start finishes it."""
        labels.put_many([said(one, who, value) for one in known for who, value in (("ana", "7"), ("eva", "9"))])
        labels.apply_aggregation(MAJORITY, at=AT)
        with engine.begin() as connection:
            connection.execute(text("UPDATE predictions SET truth = '9'"))
            connection.execute(text("INSERT INTO label_aggregation (\"row\", rule) VALUES (2, '')"))
        assert labels.apply_aggregation(MAJORITY, at=AT) == 5
        assert history.count(labelled=True) == 0

    def test_a_review_requires_its_label(self, labels: Labels, known: list[bytes]) -> None:
        """A review of another prediction's label is rejected."""
        labels.put(said(known[0], "ana", "7"))
        (label,) = labels.for_prediction(known[0])
        with pytest.raises(LabelNotFoundError):
            labels.review(known[1], label.serial, ReviewStatus.REJECTED, reviewer="olga", at=AT)

    def test_every_labelled_prediction_is_yielded(self, labels: Labels, known: list[bytes]) -> None:
        """Every labelled prediction of the model is yielded once, disputed ones too, with all its labels."""
        labels.apply_aggregation(MAJORITY, at=AT)
        labels.put_many([said(known[0], "ana", "7"), said(known[2], "ana", "7"), said(known[2], "eva", "9")])
        found = [one for some in labels.labelled("digits") for one in some.items()]
        assert [(one, [label.value for label in several]) for one, several in found] == [(known[0], ["7"]), (known[2], ["7", "9"])]
        assert list(labels.labelled("churn")) == []

    def test_labels_are_paged(self, labels: Labels, known: list[bytes]) -> None:
        """Every label appears once, newest first, filtered by model, author and source."""
        labels.put_many([said(one, who, "7") for one in known for who in ("ana", "eva")])
        first = labels.page(limit=6)
        rest = labels.page(limit=6, cursor=first.next_cursor)
        serials = [one.label.serial for one in (*first.items, *rest.items)]
        assert (serials, rest.next_cursor) == (sorted(serials, reverse=True), None)
        assert len(set(serials)) == 10
        assert len(labels.page(model="digits", author="ana", source="page").items) == 5
        assert labels.page(models=["churn"]).items == []
