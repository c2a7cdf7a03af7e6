"""What the audit says of one change: who, what, to which thing, why, from where. Pseudonyms only, so that erasing leaves it be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who changes something, and from where."""

    actor: str  # Principal.actor, or "cli" for whoever sits at this machine
    address: str = ""  # of the caller; "" at this machine


#: Whoever sits at this machine.
HERE = By(actor="cli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One change."""

    by: By
    action: str  # "user.add", "alias.move", "label.give", …
    object: str  # "user:…", "model:digits/alias:champion", "prediction:…"
    before: str = (
        ""  # what it was: a mark that only the audit's key makes, or the thing itself where it tells of no person; "" for none
    )
    after: str = ""
    reason: str = ""
