"""The pages, as they stand in the navigation; each file has `show(session)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.console.pages import classify, history, label, models, traffic, users

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.console.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One entry of the navigation; its title is the word page.<name>."""

    name: str  # also its address
    icon: str  # of the icons that Streamlit brings
    show: Callable[[Session], None]
    role: str = "viewer"  # the least that finds anything here


FIRST = Page(name="classify", icon=":material/center_focus_strong:", show=classify.show)

#: Section of the navigation (a key of the words) → its pages.
SECTIONS = {
    "frame.ask": [
        FIRST,
        Page(name="history", icon=":material/history:", show=history.show),
        Page(name="label", icon=":material/sell:", show=label.show, role="labeler"),
    ],
    "frame.watch": [
        Page(name="models", icon=":material/layers:", show=models.show),
        Page(name="traffic", icon=":material/monitoring:", show=traffic.show),
        Page(name="people", icon=":material/group:", show=users.show, role="operator"),
    ],
}


def names() -> list[str]:
    """Of every page."""
    return [page.name for listed in SECTIONS.values() for page in listed]
