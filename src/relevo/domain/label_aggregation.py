"""Which of several labels counts: a rule over what was said, by whom, and what somebody thought of it. Pure.

labels of one prediction ─ rejected? out ─ any accepted? only those ─► rule ─► the label that counts, or none
                                                                        └ two people differ ─► disputed
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

#: What stands before a person's name among the trusted sources.
AUTHOR = "author:"


class AggregationStrategy(StrEnum):
    """How the label that counts is found."""

    #: The one given last.
    LAST = "last"
    #: What most people say, each by their last word; none while as many say something else.
    MAJORITY = "majority"
    #: The one given last by a trusted source; none before one has spoken.
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAggregation:
    """A rule, and who is trusted; lives as long as the setting stays."""

    rule: AggregationStrategy = AggregationStrategy.LAST
    trusted: tuple[str, ...] = ()  # sources ("csv", "page", …), and people as "author:ana"

    def of(self, labels: Sequence[Label]) -> Label | None:
        """The label that counts among those of one prediction, given in their order."""
        counting = _counting(labels)
        if self.rule is AggregationStrategy.MAJORITY:
            return _of_most(counting)
        if self.rule is AggregationStrategy.TRUSTED:
            counting = [label for label in counting if self.trusts(label)]
        return counting[-1] if counting else None

    def trusts(self, label: Label) -> bool:
        """Whether the label comes from a trusted source or person."""
        return label.source in self.trusted or AUTHOR + label.author in self.trusted


def is_disputed(labels: Sequence[Label]) -> bool:
    """Whether people said different things, each by their last word, none of it more often than another, and nobody has decided."""
    counting = _counting(labels)
    votes = Counter(label.value for label in latest_by_author(counting)).most_common(2)
    return not _accepted(counting) and len(votes) > 1 and votes[0][1] == votes[1][1]


def latest_by_author(labels: Sequence[Label]) -> list[Label]:
    """What each person last said, among the labels that count."""
    return list({label.author: label for label in _counting(labels)}.values())


def _counting(labels: Sequence[Label]) -> list[Label]:
    left = [label for label in labels if label.verdict is not ReviewStatus.REJECTED]
    return _accepted(left) or left


def _accepted(labels: Sequence[Label]) -> list[Label]:
    return [label for label in labels if label.verdict is ReviewStatus.ACCEPTED]


def _of_most(labels: Sequence[Label]) -> Label | None:
    votes = Counter(label.value for label in latest_by_author(labels)).most_common(2)
    if not votes or (len(votes) > 1 and votes[0][1] == votes[1][1]):
        return None
    return [label for label in labels if label.value == votes[0][0]][-1]
