"""Verifies the audit log: compares every entry with its MAC, with the previous entry, and with the checkpoints.

entries, keys, checkpoints ─ verify ─► VerificationReport: number of entries, the last one, and an AuditFault for each problem

    changed, copied or exchanged entry      its MAC does not match              deleted entry     a number is missing
    two entries after the same one          a fork                              cut-off end       a checkpoint is beyond it, or differs
    last checkpoint missing                 it was deleted to hide a cut-off end, or of a whole chain while users remain
    user, key or alias without an entry     it was changed by SQL
    entry by a retired or foreign key       its key id is not the current one at that point

An entry that retires a key names the next one; from there on no other key is valid. Messages are English templates.
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

_MAX_FAULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFault:
    """One problem found by the verification."""

    sequence: int
    kind: str  # altered, removed, forked, unlinked, foreign_key, replaced_key, cut, other_past, head_forged, heads_missing, state
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """Result of the verification of the whole chain."""

    links: int  # number of entries
    head: int  # sequence of the last entry; 0 for an empty chain
    mac: str  # MAC of the last entry
    checkpoints: int  # number of compared checkpoints
    faults: list[AuditFault]  # the first hundred

    @property
    def is_whole(self) -> bool:
        """Whether no problem was found."""
        return not self.faults


def verify(
    links: Iterable[AuditEntry],
    audit: AuditLog,
    checkpoints: Iterable[Checkpoint] = (),
    *,
    state: State | None = None,
    has_file: bool = True,
    past: bool = False,
) -> VerificationReport:
    """Verifies the chain from its first entry. audit: holds the keys.

    state: content of the database, read before the entries. has_file: whether the file of the last checkpoint exists.
    past: whether files of the home say that users existed, each of whom has an entry. Raises ConfigError.
    """
    checkpoints = sorted(checkpoints, key=lambda checkpoint: checkpoint.sequence)
    # Several checkpoints of one entry are all compared: one of them may be of a replaced chain.
    expected: dict[int, set[str]] = {}
    for checkpoint in checkpoints:
        expected.setdefault(checkpoint.sequence, set()).add(checkpoint.mac)
    keys = audit.keys()
    verifier, replay = _ChainVerifier(keys), Replay(state) if state else None
    faults = [fault for checkpoint in checkpoints for fault in _check_signature(checkpoint, keys)]
    for entry in links:
        problems = [*verifier.step(entry), *_check_checkpoints(expected.get(entry.sequence, set()), entry)]
        faults += problems[: max(0, _MAX_FAULTS - len(faults))]
        if replay is not None:
            replay.step(entry)
    faults += [*_check_end(checkpoints, verifier.last)] or [*verifier.lacks(audit.key)]
    last_entry = verifier.last
    if not has_file and (last_entry is not None or past or (state is not None and state.things)):
        faults.append(_missing_checkpoint(last_entry))
    if replay is not None:
        messages = islice(replay.differences(audit.pseudonymize), max(0, _MAX_FAULTS - len(faults)))
        faults += [
            AuditFault(sequence=last_entry.sequence if last_entry else 0, kind="state", message=message) for message in messages
        ]
    return VerificationReport(
        links=verifier.count,
        head=last_entry.sequence if last_entry else 0,
        mac=last_entry.mac if last_entry else "",
        checkpoints=len(checkpoints),
        faults=faults,
    )


def _missing_checkpoint(last_entry: AuditEntry | None) -> AuditFault:
    message = (
        "heads are missing: nothing here outside the database says where the record ends (last.json in the folder of the heads)"
    )
    return AuditFault(sequence=last_entry.sequence if last_entry else 0, kind="heads_missing", message=message)


class _ChainVerifier:
    """Position within the chain. Lifetime: one verification."""

    def __init__(self, keys: Mapping[str, AuditKey]) -> None:
        self._keys = keys
        self._current_key = ""  # id of the valid key at this point; "" before the first entry
        self._used_keys: set[str] = set()
        self.last: AuditEntry | None = None
        self.count = 0

    def step(self, entry: AuditEntry) -> Iterator[AuditFault]:
        """Yields the problems of one entry, compared with the previous one."""
        previous, self.last = self.last, entry
        self.count += 1
        yield from self._check_mac(entry)
        yield from _check_order(previous, entry)

    def lacks(self, current: AuditKey) -> Iterator[AuditFault]:
        """Yields a fault if keys were rotated and no entry is signed with the current one."""
        if len(self._keys) > 1 and current.id not in self._used_keys:
            missing = (self.last.sequence if self.last else 0) + 1
            yield AuditFault(
                sequence=missing, kind="cut", message="the end is missing: no entry is sealed with the key that is in use"
            )

    def _check_mac(self, entry: AuditEntry) -> Iterator[AuditFault]:
        number = entry.sequence
        key = self._keys.get(entry.key)
        if key is None:
            yield AuditFault(
                sequence=number, kind="foreign_key", message=f"entry {number} was sealed with another key than this home's"
            )
            return
        self._current_key = self._current_key or entry.key
        if not hmac.compare_digest(key.mac(entry.signed_fields), entry.mac):
            yield AuditFault(sequence=number, kind="altered", message=f"entry {number} is not what was sealed")
            return
        if entry.key != self._current_key:
            yield AuditFault(
                sequence=number, kind="replaced_key", message=f"entry {number} was sealed with a key that was not in use then"
            )
            return
        self._used_keys.add(entry.key)
        if entry.action == RETIRE and entry.after in self._keys:
            self._current_key = entry.after


def _check_order(previous: AuditEntry | None, entry: AuditEntry) -> Iterator[AuditFault]:
    number = entry.sequence
    previous_number = previous.sequence if previous else 0
    if number <= previous_number or (previous is not None and entry.previous == previous.previous):
        yield AuditFault(sequence=number, kind="forked", message=f"two entries follow the one before {number}")
    elif number != previous_number + 1:
        yield AuditFault(
            sequence=previous_number + 1,
            kind="removed",
            message=f"entry {previous_number + 1} is missing"
            if number == previous_number + 2
            else f"entries {previous_number + 1} to {number - 1} are missing",
        )
    elif entry.previous != (previous.mac if previous else ""):
        yield AuditFault(sequence=number, kind="unlinked", message=f"entry {number} does not follow the one before it")


def _check_checkpoints(expected: Collection[str], entry: AuditEntry) -> Iterator[AuditFault]:
    if any(mac != entry.mac for mac in expected):
        number = entry.sequence
        yield AuditFault(
            sequence=number, kind="other_past", message=f"entry {number} is another one than was written down outside the database"
        )


def _check_end(checkpoints: list[Checkpoint], last_entry: AuditEntry | None) -> Iterator[AuditFault]:
    reached = last_entry.sequence if last_entry else 0
    if checkpoints and checkpoints[-1].sequence > reached:
        expected = checkpoints[-1].sequence
        yield AuditFault(
            sequence=reached + 1,
            kind="cut",
            message=f"the end is missing: {expected} entries were written down, {reached} are there",
        )


def _check_signature(checkpoint: Checkpoint, keys: Mapping[str, AuditKey]) -> Iterator[AuditFault]:
    signatures = (sign_checkpoint(key, checkpoint.sequence, checkpoint.mac, checkpoint.at_us) for key in keys.values())
    if checkpoint.signature and not any(hmac.compare_digest(signature, checkpoint.signature) for signature in signatures):
        yield AuditFault(
            sequence=checkpoint.sequence,
            kind="head_forged",
            message=f"the head of entry {checkpoint.sequence} was not written by this home",
        )
