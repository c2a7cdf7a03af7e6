"""What the audit says of one change: who, what, to which thing, why, from where. Pseudonyms only, so that erasing leaves it be.

after: "admin #5f0c…" ─ words of the new state, then marks: each a keyed digest of a row as the change left it
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKS = re.compile("(?:(?:^| )#[0-9a-f]{32})+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who changes something, and from where."""

    actor: str  # Principal.actor, or "cli" for whoever sits at this machine
    address: str = ""  # of the caller; "" at this machine


#: Whoever sits at this machine.
LOCAL_ACTOR = Actor(actor="cli")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change."""

    by: Actor
    action: str  # "user.add", "alias.move", "label.give", …
    object: str  # "user:…", "model:digits/alias:champion", "prediction:…"
    before: str = (
        ""  # what it was: a mark that only the audit's key makes, or the thing itself where it tells of no person; "" for none
    )
    after: str = ""
    reason: str = ""


def with_marks(words: str, *marks: str) -> str:
    """What an entry keeps of the new state: its words, and marks of the rows that the change wrote."""
    return " ".join([*([words] if words else []), *(f"#{mark}" for mark in marks)])


def without_marks(after: str) -> str:
    """The words alone, as people read them."""
    return _MARKS.sub("", after)


def marks_of(after: str) -> list[str]:
    """The marks alone; none in an entry of an earlier release."""
    found = _MARKS.search(after)
    return found[0].replace("#", "").split() if found else []
