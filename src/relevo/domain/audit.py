"""Audit events: who changed what, why, and from where. They contain only pseudonyms, so that erasure need not change them.

after: "admin #5f0c…" ─ text of the new state, then marks: keyed digests of the rows as written by the change
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARK_SUFFIX = re.compile("(?:(?:^| )#[0-9a-f]{32})+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who makes a change, and from where."""

    actor: str  # Principal.actor, or "cli" for the local command line
    address: str = ""  # IP address of the caller; "" for the local command line


#: The local command line.
LOCAL_ACTOR = Actor(actor="cli")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change."""

    by: Actor
    action: str  # "user.add", "alias.move", "label.give", …
    object: str  # "user:…", "model:digits/alias:champion", "prediction:…"
    #: Former state: a mark made with the audit key, or the value itself where it is not personal data; "" for none.
    before: str = ""
    after: str = ""
    reason: str = ""


def with_marks(text: str, *marks: str) -> str:
    """The `after` text of an entry: the new state, and marks of the rows that the change wrote."""
    return " ".join([*([text] if text else []), *(f"#{mark}" for mark in marks)])


def without_marks(after: str) -> str:
    """The text without its marks, for display."""
    return _MARK_SUFFIX.sub("", after)


def marks_of(after: str) -> list[str]:
    """The marks of the text; empty for an entry of an earlier release."""
    match = _MARK_SUFFIX.search(after)
    return match[0].replace("#", "").split() if match else []
