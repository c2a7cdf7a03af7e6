"""Label aggregation."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relevo.domain.label_aggregation import AggregationStrategy, LabelAggregation, is_disputed, latest_by_author
from relevo.domain.prediction import Label, ReviewStatus

AT = datetime(2026, 3, 1, tzinfo=UTC)


def parse_labels(text: str) -> list[Label]:
    """`ana:7 eva:9+ csv/bob:7-` as labels in that order: source/author:value, + accepted, - rejected."""
    labels = []
    for word in text.split():
        source_and_author, _, value = word.partition(":")
        source, _, author = source_and_author.rpartition("/")
        verdict = {"+": ReviewStatus.ACCEPTED, "-": ReviewStatus.REJECTED}.get(value[-1], ReviewStatus.PENDING)
        labels.append(
            Label(prediction=b"", value=value.rstrip("+-"), author=author, source=source or "page", at=AT, review=verdict)
        )
    return labels


@pytest.mark.parametrize(
    ("words", "last", "majority", "trusted"),
    [
        ("", None, None, None),
        ("ana:7", "7", "7", None),
        ("ana:7 eva:9", "9", None, None),
        ("ana:7 eva:9 bob:7", "7", "7", None),
        ("ana:7 ana:7 ana:7 eva:9 bob:9", "9", "9", None),
        ("ana:7 eva:9 ana:9", "9", "9", None),
        ("csv/bob:7 eva:9 ana:9", "9", "9", "7"),
        ("lab:7 eva:9", "9", None, "7"),
        ("csv/bob:7 lab:8 eva:9", "9", None, "8"),
        ("csv/bob:7- eva:9", "9", "9", None),
        ("ana:7+ eva:9 bob:9", "7", "7", None),
        ("ana:7- eva:9-", None, None, None),
    ],
)
def test_each_rule_finds_its_label(words: str, last: str | None, majority: str | None, trusted: str | None) -> None:
    """Each strategy: the latest label; the majority of latest labels, none for a tie; the latest trusted label, or none.

    A rejected label never counts, and once one is accepted only accepted ones do.
    """
    labels = parse_labels(words)
    for rule, expected in (
        (AggregationStrategy.LAST, last),
        (AggregationStrategy.MAJORITY, majority),
        (AggregationStrategy.TRUSTED, trusted),
    ):
        resolved = LabelAggregation(strategy=rule, trusted_sources=("csv", "author:lab")).resolve(labels)
        assert (None if resolved is None else resolved.value) == expected, rule


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("ana:7", False),
        ("ana:7 eva:9", True),
        ("ana:7 eva:9 bob:9", False),
        ("ana:7 ana:9", False),
        ("ana:7 eva:9-", False),
        ("ana:7 eva:9 bob:9+", False),
    ],
)
def test_a_dispute_is_between_people(words: str, *, wanted: bool) -> None:
    """Two authors who disagree are a dispute until a third or a review decides; one author who corrects is not."""
    assert is_disputed(parse_labels(words)) is wanted


def test_everybody_has_one_last_word() -> None:
    """The latest label of each author, without rejected ones."""
    assert [label.value for label in latest_by_author(parse_labels("ana:1 eva:2 ana:3 eva:4-"))] == ["3", "2"]
