"""Is the audit whole? Every link is held against its seal, against the one before it, and against the heads that were written down.

links, keys, heads ─ verify ─► Verdict: how many, the last one, and a fault for each thing that is not as it was written

    a changed, copied or exchanged link    its seal does not match          a removed one   a number is missing
    two that follow the same one           a fork                           a cut end       a head knows more, or another seal
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.store.heads import mark_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from relevo.store.audit import Audit
    from relevo.store.heads import Head
    from relevo.store.trail import Link

_MOST_FAULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is not as it was written."""

    sequence: int
    kind: str  # altered, removed, forked, unlinked, foreign_key, cut, other_past, head_forged
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a walk over the whole chain found."""

    links: int
    head: int  # sequence of the last link; 0 while there is none
    seal: str
    heads: int  # how many were compared
    faults: list[Fault]  # the first hundred

    @property
    def whole(self) -> bool:
        """Whether everything is as it was written."""
        return not self.faults


def verify(links: Iterable[Link], audit: Audit, heads: Iterable[Head] = ()) -> Verdict:
    """Walk the chain from its first link. audit: holds the key that the seals are checked with."""
    written = sorted(heads, key=lambda head: head.sequence)
    expected = {head.sequence: head for head in written}
    walk = _Walk(audit=audit)
    faults = [fault for head in written for fault in _head_faults(head, audit)]
    for link in links:
        found = [*walk.step(link), *_past(expected.get(link.sequence), link)]
        faults += found[: max(0, _MOST_FAULTS - len(faults))]
    faults += _cut(written, walk.last)
    last = walk.last
    return Verdict(
        links=walk.count, head=last.sequence if last else 0, seal=last.seal if last else "", heads=len(written), faults=faults
    )


class _Walk:
    """Where a walk stands; lives as long as it."""

    def __init__(self, *, audit: Audit) -> None:
        self._audit = audit
        self.last: Link | None = None
        self.count = 0

    def step(self, link: Link) -> Iterator[Fault]:
        """The faults of one link beside the one before it."""
        last, self.last = self.last, link
        self.count += 1
        number = link.sequence
        if link.key != self._audit.key_id:
            yield Fault(sequence=number, kind="foreign_key", told=f"entry {number} was sealed with another key than this home's")
        elif not hmac.compare_digest(self._audit.seal(link.sealed), link.seal):
            yield Fault(sequence=number, kind="altered", told=f"entry {number} is not what was sealed")
        yield from _order(last, link)


def _order(last: Link | None, link: Link) -> Iterator[Fault]:
    number = link.sequence
    before = last.sequence if last else 0
    if number <= before or (last is not None and link.previous == last.previous):
        yield Fault(sequence=number, kind="forked", told=f"two entries follow the one before {number}")
    elif number != before + 1:
        missing = f"entry {before + 1} is" if number == before + 2 else f"entries {before + 1} to {number - 1} are"
        yield Fault(sequence=before + 1, kind="removed", told=f"{missing} missing")
    elif link.previous != (last.seal if last else ""):
        yield Fault(sequence=number, kind="unlinked", told=f"entry {number} does not follow the one before it")


def _past(head: Head | None, link: Link) -> Iterator[Fault]:
    if head is not None and head.seal != link.seal:
        told = f"entry {link.sequence} is another one than was written down outside the database"
        yield Fault(sequence=link.sequence, kind="other_past", told=told)


def _cut(written: list[Head], last: Link | None) -> Iterator[Fault]:
    stands = last.sequence if last else 0
    if written and written[-1].sequence > stands:
        most = written[-1].sequence
        yield Fault(
            sequence=stands + 1, kind="cut", told=f"the end is missing: {most} entries were written down, {stands} are there"
        )


def _head_faults(head: Head, audit: Audit) -> Iterator[Fault]:
    if head.mark and not hmac.compare_digest(mark_of(audit, head.sequence, head.seal, head.at_us), head.mark):
        yield Fault(
            sequence=head.sequence, kind="head_forged", told=f"the head of entry {head.sequence} was not written by this home"
        )
