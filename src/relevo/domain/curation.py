"""Curation of training data: selects the labelled examples to train on, and gives a reason for each exclusion. Pure.

    examples ─► input missing or unreadable ─► contradicting labels ─► duplicates ─► share of one author ─► kept
                           └──────────────────────────┴────────────────────┴──────────────────┴─► excluded, with the reason

An exclusion concerns training only: no label is deleted or changed.
Source: the limit per author is the largest count L such that, with all counts cut at L, no author exceeds the share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from relevo.domain.label_sampling import sampling_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: Labels that one author may always give; below this count none are excluded as flooding.
MIN_AUTHOR_LIMIT = 500


class Reason(StrEnum):
    """Why an example is excluded; the first reason that applies."""

    #: Its input was not stored, or was erased.
    INPUT_NOT_KEPT = "input_not_kept"
    #: Its input cannot be read.
    UNREADABLE = "unreadable"
    #: The same input has another label, and no majority of trusted authors decides.
    CONTRADICTING = "contradicting"
    #: The same input with the same label is included already.
    DUPLICATE = "duplicate"
    #: Its author gave too large a share of the labels.
    FLOODING = "flooding"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelVote:
    """The last label that one author gave a prediction."""

    value: str
    trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledExample:
    """One prediction with its labels."""

    prediction: bytes  # id; examples are sorted by it, so that of duplicates the oldest is kept
    content: bytes | None  # digest of the input; None when it cannot be read
    trouble: Reason | None = None  # why it cannot be read
    value: str | None  # the resolved label; None when authors disagree
    author: str  # of that label
    trusted: bool  # whether that author is exempt from the share
    votes: tuple[LabelVote, ...] = ()  # the last label of each author


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """One excluded example."""

    prediction: bytes
    reason: Reason
    value: str | None
    author: str
    other: bytes | None = None  # the prediction that it repeats or contradicts


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationReport:
    """Result of the curation."""

    kept: tuple[bytes, ...]  # ids, ascending
    excluded: tuple[Exclusion, ...]  # by id, ascending

    @property
    def counts(self) -> dict[str, int]:
        """Number of excluded examples by reason."""
        return dict(Counter(exclusion.reason.value for exclusion in self.excluded))


def curate(examples: Iterable[LabelledExample], *, share: float, min_labels: int = MIN_AUTHOR_LIMIT) -> CurationReport:
    """Selects the examples to train on.

    share: maximum share of one untrusted author in the kept examples, 0..1; with n authors, at least 1/n.
    min_labels: number of labels that every author may give, whatever the share.
    """
    kept = sorted(examples, key=lambda example: example.prediction)
    excluded: list[Exclusion] = []
    rules: tuple[Callable[[list[LabelledExample]], list[Exclusion]], ...] = (
        _find_unreadable,
        _find_contradicting,
        _find_duplicates,
        partial(_find_flooding, share=share, least=min_labels),
    )
    for rule in rules:
        exclusions = rule(kept)
        ids = {exclusion.prediction for exclusion in exclusions}
        kept = [example for example in kept if example.prediction not in ids]
        excluded += exclusions
    return CurationReport(
        kept=tuple(example.prediction for example in kept),
        excluded=tuple(sorted(excluded, key=lambda exclusion: exclusion.prediction)),
    )


def _exclude(example: LabelledExample, reason: Reason, other: bytes | None = None) -> Exclusion:
    return Exclusion(prediction=example.prediction, reason=reason, value=example.value, author=example.author, other=other)


def _find_unreadable(examples: Sequence[LabelledExample]) -> list[Exclusion]:
    return [_exclude(example, example.trouble or Reason.UNREADABLE) for example in examples if example.content is None]


def _find_contradicting(examples: Sequence[LabelledExample]) -> list[Exclusion]:
    excluded: list[Exclusion] = []
    for group in _group_by_content(examples):
        votes = [vote for example in group for vote in example.votes]
        if len({vote.value for vote in votes}) < 2:
            excluded += [_exclude(example, Reason.CONTRADICTING) for example in group if example.value is None]
            continue
        majority = _majority(vote.value for vote in votes if vote.trusted)
        other_id = {example.prediction: _contradicting_id(example, group) for example in group}
        excluded += [
            _exclude(example, Reason.CONTRADICTING, other_id[example.prediction])
            for example in group
            if example.value is None or example.value != majority
        ]
    return excluded


def _contradicting_id(example: LabelledExample, group: Sequence[LabelledExample]) -> bytes | None:
    return next(
        (other.prediction for other in group if other.prediction != example.prediction and other.value != example.value), None
    )


def _majority(values: Iterable[str]) -> str | None:
    """The most frequent value; None for a tie or no values."""
    counts = Counter(values).most_common(2)
    return counts[0][0] if counts and (len(counts) == 1 or counts[0][1] > counts[1][1]) else None


def _find_duplicates(examples: Sequence[LabelledExample]) -> list[Exclusion]:
    return [
        _exclude(example, Reason.DUPLICATE, group[0].prediction) for group in _group_by_content(examples) for example in group[1:]
    ]


def _group_by_content(examples: Sequence[LabelledExample]) -> list[list[LabelledExample]]:
    groups: defaultdict[bytes | None, list[LabelledExample]] = defaultdict(list)
    for example in examples:
        groups[example.content].append(example)
    return list(groups.values())


def _find_flooding(examples: Sequence[LabelledExample], share: float, least: int) -> list[Exclusion]:
    by_author: defaultdict[str, list[LabelledExample]] = defaultdict(list)
    for example in examples:
        by_author[example.author].append(example)
    limit = max(_author_limit([len(labelled) for labelled in by_author.values()], share), least)
    excluded: list[Exclusion] = []
    for labelled in by_author.values():
        bounded = [example for example in labelled if not example.trusted]
        # The kept ones are a random sample: neither the oldest nor the newest.
        bounded.sort(key=lambda example: (sampling_key(example.prediction), example.prediction))
        excluded += [_exclude(example, Reason.FLOODING) for example in bounded[limit:]]
    return excluded


def _author_limit(counts: Sequence[int], share: float) -> int:
    """The largest level that is at most `share` of the sum of the counts, each cut to the level."""
    if not counts:
        return 0
    allowed = max(share, 1 / len(counts))

    def fits(level: int) -> bool:
        # The factor absorbs rounding errors, such as a third of three.
        return level <= allowed * sum(min(count, level) for count in counts) * (1 + 1e-9)

    return _last_holding(fits, max(counts))


def _last_holding(holds: Callable[[int], bool], limit: int) -> int:
    """Binary search: the largest number in 0..`limit` for which the monotonic predicate holds."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
