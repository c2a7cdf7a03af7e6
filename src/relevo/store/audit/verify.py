"""Is the audit whole? Every link is held against its seal, against the one before it, and against the heads that were written down.

links, keys, heads ─ verify ─► Verdict: how many, the last one, and a fault for each thing that is not as it was written

    a changed, copied or exchanged link    its seal does not match          a removed one   a number is missing
    two that follow the same one           a fork                           a cut end       a head knows more, or another seal
    no head where the last one is kept     whoever cut the end took it, too; or took all, and users are left
    a user, key or alias that no link made was changed by SQL
    one sealed with a key that was replaced by then, or that is not this home's             its id is not the one due

A link that ends a key names the next one; from there on no other counts. Faults are told in English, each a template of its own.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from relevo.store.audit.checkpoints import sign_checkpoint
from relevo.store.audit.log import RETIRE
from relevo.store.audit.state import Replay

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from relevo.store.audit.checkpoints import Checkpoint
    from relevo.store.audit.keys import AuditKey
    from relevo.store.audit.log import AuditLog
    from relevo.store.audit.reader import AuditEntry
    from relevo.store.audit.state import State

_MOST_FAULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFault:
    """One thing that is not as it was written."""

    sequence: int
    kind: str  # altered, removed, forked, unlinked, foreign_key, replaced_key, cut, other_past, head_forged, heads_missing, state
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """What a walk over the whole chain found."""

    links: int
    head: int  # sequence of the last link; 0 while there is none
    seal: str
    heads: int  # how many were compared
    faults: list[AuditFault]  # the first hundred

    @property
    def whole(self) -> bool:
        """Whether everything is as it was written."""
        return not self.faults


def verify(
    links: Iterable[AuditEntry],
    audit: AuditLog,
    heads: Iterable[Checkpoint] = (),
    *,
    state: State | None = None,
    kept: bool = True,
    past: bool = False,
) -> VerificationReport:
    """Walk the chain from its first link. audit: holds the keys that the seals are checked with.

    state: what the database says beside the chain, read before the links are. kept: whether the last head lies where it is written.
    past: whether files of the home tell of users, each of whom an entry tells of. Raises ConfigError.
    """
    written = sorted(heads, key=lambda head: head.sequence)
    # Of heads of the same entry each counts: one of them may be of another past.
    expected: dict[int, set[str]] = {}
    for head in written:
        expected.setdefault(head.sequence, set()).add(head.seal)
    keys = audit.keys()
    walk, replay = _Walk(keys), Replay(state) if state else None
    faults = [fault for head in written for fault in _head_faults(head, keys)]
    for link in links:
        found = [*walk.step(link), *_past(expected.get(link.sequence, set()), link)]
        faults += found[: max(0, _MOST_FAULTS - len(faults))]
        if replay is not None:
            replay.step(link)
    faults += [*_cut(written, walk.last)] or [*walk.lacks(audit.key)]
    last = walk.last
    if not kept and (last is not None or past or (state is not None and state.things)):
        faults.append(_missing(last))
    if replay is not None:
        differing = islice(replay.differences(audit.mark), max(0, _MOST_FAULTS - len(faults)))
        faults += [AuditFault(sequence=last.sequence if last else 0, kind="state", told=told) for told in differing]
    return VerificationReport(
        links=walk.count, head=last.sequence if last else 0, seal=last.seal if last else "", heads=len(written), faults=faults
    )


def _missing(last: AuditEntry | None) -> AuditFault:
    told = "heads are missing: nothing here outside the database says where the record ends (last.json in the folder of the heads)"
    return AuditFault(sequence=last.sequence if last else 0, kind="heads_missing", told=told)


class _Walk:
    """Where a walk stands; lives as long as it."""

    def __init__(self, keys: Mapping[str, AuditKey]) -> None:
        self._keys = keys
        self._due = ""  # id of the key that seals here; "" before the first link
        self._met: set[str] = set()
        self.last: AuditEntry | None = None
        self.count = 0

    def step(self, link: AuditEntry) -> Iterator[AuditFault]:
        """The faults of one link beside the one before it."""
        last, self.last = self.last, link
        self.count += 1
        yield from self._seal(link)
        yield from _order(last, link)

    def lacks(self, current: AuditKey) -> Iterator[AuditFault]:
        """The fault of a chain that does not reach to the key which is in use, though keys were replaced before."""
        if len(self._keys) > 1 and current.id not in self._met:
            missing = (self.last.sequence if self.last else 0) + 1
            yield AuditFault(
                sequence=missing, kind="cut", told="the end is missing: no entry is sealed with the key that is in use"
            )

    def _seal(self, link: AuditEntry) -> Iterator[AuditFault]:
        number = link.sequence
        key = self._keys.get(link.key)
        if key is None:
            yield AuditFault(
                sequence=number, kind="foreign_key", told=f"entry {number} was sealed with another key than this home's"
            )
            return
        self._due = self._due or link.key
        if not hmac.compare_digest(key.seal(link.sealed), link.seal):
            yield AuditFault(sequence=number, kind="altered", told=f"entry {number} is not what was sealed")
            return
        if link.key != self._due:
            yield AuditFault(
                sequence=number, kind="replaced_key", told=f"entry {number} was sealed with a key that was not in use then"
            )
            return
        self._met.add(link.key)
        if link.action == RETIRE and link.after in self._keys:
            self._due = link.after


def _order(last: AuditEntry | None, link: AuditEntry) -> Iterator[AuditFault]:
    number = link.sequence
    before = last.sequence if last else 0
    if number <= before or (last is not None and link.previous == last.previous):
        yield AuditFault(sequence=number, kind="forked", told=f"two entries follow the one before {number}")
    elif number != before + 1:
        yield AuditFault(
            sequence=before + 1,
            kind="removed",
            told=f"entry {before + 1} is missing" if number == before + 2 else f"entries {before + 1} to {number - 1} are missing",
        )
    elif link.previous != (last.seal if last else ""):
        yield AuditFault(sequence=number, kind="unlinked", told=f"entry {number} does not follow the one before it")


def _past(seals: Collection[str], link: AuditEntry) -> Iterator[AuditFault]:
    if any(seal != link.seal for seal in seals):
        number = link.sequence
        yield AuditFault(
            sequence=number, kind="other_past", told=f"entry {number} is another one than was written down outside the database"
        )


def _cut(written: list[Checkpoint], last: AuditEntry | None) -> Iterator[AuditFault]:
    stands = last.sequence if last else 0
    if written and written[-1].sequence > stands:
        most = written[-1].sequence
        yield AuditFault(
            sequence=stands + 1, kind="cut", told=f"the end is missing: {most} entries were written down, {stands} are there"
        )


def _head_faults(head: Checkpoint, keys: Mapping[str, AuditKey]) -> Iterator[AuditFault]:
    marks = (sign_checkpoint(key, head.sequence, head.seal, head.at_us) for key in keys.values())
    if head.mark and not any(hmac.compare_digest(mark, head.mark) for mark in marks):
        yield AuditFault(
            sequence=head.sequence, kind="head_forged", told=f"the head of entry {head.sequence} was not written by this home"
        )
