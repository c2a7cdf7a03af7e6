"""What the audit says of one change: who, what, to which thing, why, from where. Pseudonyms only, so that erasing never touches it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who changes something, and from where."""

    actor: str  # Principal.actor, or "cli" for whoever sits at this machine
    address: str = ""  # of the caller; "" at this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One change."""

    by: By
    action: str  # "user.add", "alias.move", "label.give", …
    object: str  # "user:…", "model:digits/alias:champion", "prediction:…"
    before: str = ""  # hash of what it was; "" when it was not
    after: str = ""
    reason: str = ""
