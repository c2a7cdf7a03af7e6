"""Label aggregation: resolves several labels of one prediction to one, by strategy, author and review. Pure.

labels of one prediction ─ drop rejected ─ if any is accepted, only those ─► strategy ─► resolved label, or none
                                                                            └ authors disagree ─► disputed
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from relevo.domain.prediction import ReviewStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.domain.prediction import Label

#: Prefix of an author's name among the trusted sources.
AUTHOR = "author:"


class AggregationStrategy(StrEnum):
    """How the resolved label is chosen."""

    #: The latest label.
    LAST = "last"
    #: The most frequent label, with the latest label of each author; none for a tie.
    MAJORITY = "majority"
    #: The latest label of a trusted source; none before there is one.
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAggregation:
    """Strategy and trusted sources. Lifetime: until the setting changes."""

    strategy: AggregationStrategy = AggregationStrategy.LAST
    trusted_sources: tuple[str, ...] = ()  # sources ("csv", "page", …), and authors as "author:ana"

    def resolve(self, labels: Sequence[Label]) -> Label | None:
        """The resolved label among those of one prediction, which are in chronological order."""
        countable = _countable(labels)
        if self.strategy is AggregationStrategy.MAJORITY:
            return _majority(countable)
        if self.strategy is AggregationStrategy.TRUSTED:
            countable = [label for label in countable if self.is_trusted(label)]
        return countable[-1] if countable else None

    def is_trusted(self, label: Label) -> bool:
        """Whether the label comes from a trusted source or author."""
        return label.source in self.trusted_sources or AUTHOR + label.author in self.trusted_sources


def is_disputed(labels: Sequence[Label]) -> bool:
    """Whether the latest labels of the authors tie, and no label is accepted."""
    countable = _countable(labels)
    votes = Counter(label.value for label in latest_by_author(countable)).most_common(2)
    return not _accepted(countable) and len(votes) > 1 and votes[0][1] == votes[1][1]


def latest_by_author(labels: Sequence[Label]) -> list[Label]:
    """The latest label of each author, among the countable labels."""
    return list({label.author: label for label in _countable(labels)}.values())


def _countable(labels: Sequence[Label]) -> list[Label]:
    not_rejected = [label for label in labels if label.review is not ReviewStatus.REJECTED]
    return _accepted(not_rejected) or not_rejected


def _accepted(labels: Sequence[Label]) -> list[Label]:
    return [label for label in labels if label.review is ReviewStatus.ACCEPTED]


def _majority(labels: Sequence[Label]) -> Label | None:
    votes = Counter(label.value for label in latest_by_author(labels)).most_common(2)
    if not votes or (len(votes) > 1 and votes[0][1] == votes[1][1]):
        return None
    return [label for label in labels if label.value == votes[0][0]][-1]
