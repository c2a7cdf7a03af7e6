"""The list of pages in the order of the navigation. Each file of this package has `show(session)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.console.pages import classify, history, label, models, traffic, users

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.console.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One entry of the navigation; its title is the text page.<name>."""

    name: str  # also its path
    icon: str  # of the icons of Streamlit
    show: Callable[[Session], None]
    role: str = "viewer"  # minimum role


FIRST = Page(name="classify", icon=":material/center_focus_strong:", show=classify.show)

#: Section of the navigation (key of its text) → its pages.
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
    """The names of all pages."""
    return [page.name for section in SECTIONS.values() for page in section]
