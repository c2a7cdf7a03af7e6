"""Who sits at the keyboard, for the histories that name people."""

from __future__ import annotations

import getpass


def current_user() -> str:
    """The system's name of the user; "unknown" where it has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
