"""Ask a model and see what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.console import frame

if TYPE_CHECKING:
    from relevo.console.session import Session


def show(here: Session) -> None:
    """The page."""
    words = here.words
    models = here.client.models()
    frame.heading(words["page.classify"], words["classify.lead"])
    if not models:
        frame.say(words["classify.none"], words["classify.none.next"])
        return
