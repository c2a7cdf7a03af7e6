"""Labels: every one kept, the last one counts, the same on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from relevo.domain.ids import new_id
from relevo.domain.prediction import Label

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from relevo.store.labels import Labels

AT = datetime(2026, 3, 1, 12, 30, 0, 7, tzinfo=UTC)


def label(prediction: bytes, value: str, minutes: int = 0) -> Label:
    return Label(
        prediction=prediction, value=value, author="ana", source="page", at=AT + timedelta(minutes=minutes), note="está claro"
    )


class TestLabels:
    """The contract of the labels."""

    def test_a_label_comes_back_whole(self, labels: Labels) -> None:
        """What an author said is read back as it was said."""
        given = label(new_id(1), "7")
        labels.put(given)
        assert labels.of(given.prediction) == [given]

    def test_a_correction_keeps_the_old(self, labels: Labels) -> None:
        """The label given last counts, whatever its time says, and the earlier ones stay."""
        one = new_id(1)
        first, second = label(one, "7", minutes=5), label(one, "9", minutes=0)
        labels.put(first)
        labels.put(second)
        assert labels.of(one) == [first, second]
        assert labels.current(one) == second

    def test_no_label_is_none(self, labels: Labels) -> None:
        """A prediction that nobody labelled has none."""
        assert labels.current(new_id(1)) is None
        assert labels.of(new_id(1)) == []

    @pytest.mark.parametrize("count", [0, 3, 1201])
    def test_many_are_asked_at_once(self, labels: Labels, count: int) -> None:
        """The current labels of a whole page, and of far more, come in one call; unlabelled ones are left out."""
        ids = [new_id(number) for number in range(count)]
        for prediction in ids[::400]:
            labels.put(label(prediction, "7"))
            labels.put(label(prediction, "9"))
        found = labels.current_many(iter(ids))
        assert {prediction: it.value for prediction, it in found.items()} == dict.fromkeys(ids[::400], "9")

    def test_the_database_guards_the_labels(self, labels: Labels, engine: Engine) -> None:
        """A label cannot be rewritten, not even with SQL."""
        labels.put(label(new_id(1), "7"))
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text("UPDATE labels SET value = '9'"))

    def test_odd_texts_are_kept(self, labels: Labels) -> None:
        """A note with signs that no database stores is kept with them replaced."""
        one = new_id(1)
        labels.put(Label(prediction=one, value="7", author="ana", source="api", at=AT, note="a\x00b"))
        assert labels.of(one)[0].note == "a\ufffdb"
