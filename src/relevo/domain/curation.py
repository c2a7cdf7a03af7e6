"""What is fit to be learnt from: every labelled example looked at once, and each one left out with its reason. Pure.

    examples ─► no input, cannot be read ─► what the same input was called elsewhere ─► copies ─► one author among many ─► kept
                      └───────────────────────────┴─────────────────────────────────────┴──────────────┴─► excluded, with why

Left out here is left out of learning alone: nothing is deleted, and no label is changed.
Source: the share that one author may have is found as the largest level below which all authors' counts are cut.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from relevo.domain.label_sampling import sampling_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: Nobody's labels are cut below this count: fewer are no flood.
LEAST = 500


class Reason(StrEnum):
    """Why an example is left out; of several, the first."""

    #: Its input was not kept, or was erased.
    INPUT_NOT_KEPT = "input_not_kept"
    #: Its input cannot be read any more.
    UNREADABLE = "unreadable"
    #: The same input was called something else, and no trusted majority says which is right.
    CONTRADICTING = "contradicting"
    #: The same input with the same label is there already.
    DUPLICATE = "duplicate"
    #: Its author gave too large a share of all labels.
    FLOODING = "flooding"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelVote:
    """What one person last said of a prediction."""

    value: str
    trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledExample:
    """One prediction that people labelled."""

    prediction: bytes  # id; in the order of these, so that of copies the oldest stays
    content: bytes | None  # digest of what was asked; None when it cannot be read
    trouble: Reason | None = None  # why it cannot
    value: str | None  # the label that counts; None when people disagree
    author: str  # of that label
    trusted: bool  # whether that author may give any share
    votes: tuple[LabelVote, ...] = ()  # everybody's last word


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """One example that is not learnt from."""

    prediction: bytes
    reason: Reason
    value: str | None
    author: str
    other: bytes | None = None  # the prediction that it repeats or contradicts


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationReport:
    """What is learnt from, and what is not."""

    kept: tuple[bytes, ...]  # ids, ascending
    excluded: tuple[Exclusion, ...]  # by id, ascending

    @property
    def counts(self) -> dict[str, int]:
        """How many are left out, by reason."""
        return dict(Counter(one.reason.value for one in self.excluded))


def curate(examples: Iterable[LabelledExample], *, share: float, least: int = LEAST) -> CurationReport:
    """Keep what is fit to be learnt from.

    share: largest part of what is kept that one author not trusted may have given, 0..1; of n authors each may always have 1/n.
    least: labels that anybody may have given, whatever the share.
    """
    left = sorted(examples, key=lambda one: one.prediction)
    excluded: list[Exclusion] = []
    for rule in (_unreadable, _contradicting, _copies, lambda some: _flooding(some, share, least)):
        out = rule(left)
        gone = {one.prediction for one in out}
        left = [one for one in left if one.prediction not in gone]
        excluded += out
    return CurationReport(
        kept=tuple(one.prediction for one in left), excluded=tuple(sorted(excluded, key=lambda one: one.prediction))
    )


def _out(one: LabelledExample, reason: Reason, other: bytes | None = None) -> Exclusion:
    return Exclusion(prediction=one.prediction, reason=reason, value=one.value, author=one.author, other=other)


def _unreadable(some: Sequence[LabelledExample]) -> list[Exclusion]:
    return [_out(one, one.trouble or Reason.UNREADABLE) for one in some if one.content is None]


def _contradicting(some: Sequence[LabelledExample]) -> list[Exclusion]:
    found: list[Exclusion] = []
    for group in _by_content(some):
        votes = [vote for one in group for vote in one.votes]
        if len({vote.value for vote in votes}) < 2:
            found += [_out(one, Reason.CONTRADICTING) for one in group if one.value is None]
            continue
        right = _most(vote.value for vote in votes if vote.trusted)
        against = {one.prediction: _against(one, group) for one in group}
        found += [
            _out(one, Reason.CONTRADICTING, against[one.prediction]) for one in group if one.value is None or one.value != right
        ]
    return found


def _against(one: LabelledExample, group: Sequence[LabelledExample]) -> bytes | None:
    return next((other.prediction for other in group if other.prediction != one.prediction and other.value != one.value), None)


def _most(values: Iterable[str]) -> str | None:
    """The value said most often; None when no other number is smaller, or nobody said anything."""
    counts = Counter(values).most_common(2)
    return counts[0][0] if counts and (len(counts) == 1 or counts[0][1] > counts[1][1]) else None


def _copies(some: Sequence[LabelledExample]) -> list[Exclusion]:
    return [_out(one, Reason.DUPLICATE, group[0].prediction) for group in _by_content(some) for one in group[1:]]


def _by_content(some: Sequence[LabelledExample]) -> list[list[LabelledExample]]:
    groups: defaultdict[bytes | None, list[LabelledExample]] = defaultdict(list)
    for one in some:
        groups[one.content].append(one)
    return list(groups.values())


def _flooding(some: Sequence[LabelledExample], share: float, least: int) -> list[Exclusion]:
    by_author: defaultdict[str, list[LabelledExample]] = defaultdict(list)
    for one in some:
        by_author[one.author].append(one)
    level = max(_level([len(given) for given in by_author.values()], share), least)
    found: list[Exclusion] = []
    for given in by_author.values():
        bounded = [one for one in given if not one.trusted]
        # Which of them stay is drawn by lot: neither the oldest nor the newest.
        bounded.sort(key=lambda one: (sampling_key(one.prediction), one.prediction))
        found += [_out(one, Reason.FLOODING) for one in bounded[level:]]
    return found


def _level(counts: Sequence[int], share: float) -> int:
    """The largest count that is at most this share of all counts, each cut to it."""
    if not counts:
        return 0
    allowed = max(share, 1 / len(counts))

    def fits(level: int) -> bool:
        # A hair more, so that a third of three is not lost to rounding.
        return level <= allowed * sum(min(count, level) for count in counts) * (1 + 1e-9)

    return _last_that(fits, max(counts))


def _last_that(holds: Callable[[int], bool], most: int) -> int:
    """The largest number from 0 to `most` for which it holds, where it holds up to some number and no further."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
