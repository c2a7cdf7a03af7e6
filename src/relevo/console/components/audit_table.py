"""The audit as a table: who changed what, newest first, a page of the database at a time.

object, actor, cursor ─► GET /audit ─► one page
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout
from relevo.console.components import html
from relevo.console.components.pagination import Turns

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts

_A_PAGE = 25


def show(here: Session, names: dict[str, str]) -> None:
    """The audit. names: of users by their id, where they may be known."""
    words = here.words
    html.note(words["trail.lead"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        thing = st.text_input(words["trail.object"], placeholder="model:digits/alias:champion", width=320)
        actor = _actor_chosen(names, words)
    wanted = {key: value for key, value in (("object", thing.strip()), ("actor", actor)) if value}
    turns = Turns("trail", wanted, a_page=_A_PAGE)
    found = here.client.ask("GET", "/audit", params=turns.asked)
    if not found["items"]:
        layout.say(words["trail.none"], words["trail.none.next"])
        return
    _table(found["items"], names, words)
    turns.buttons(found["next_cursor"], words)


def refused(here: Session) -> None:
    """Who tried to sign in and was not let in, newest first."""
    words = here.words
    found = here.client.ask("GET", "/audit/sign-ins", params={"limit": _A_PAGE})["items"]
    layout.heading(words["attempts.heading"], words["attempts.lead"] if found else words["attempts.none"])
    if found:
        _refused_table(found, words)


def _refused_table(items: list[dict[str, Any]], words: Texts) -> None:
    html.table(
        [words[f"attempts.{key}"] for key in ("last", "name", "address", "reason", "tries")],
        [
            [
                words.moment(one["last"], st.context.timezone, seconds=True),
                one["name"] or html.soft(words("attempts.unknown", mark=one["mark"][:6])),
                html.code(one["address"]),
                words[f"attempts.{one['reason']}"],
                html.soft(words.whole(one["tries"])),
            ]
            for one in items
        ],
    )


def _actor_chosen(names: dict[str, str], words: Texts) -> str:
    if not names:
        return ""
    chosen = st.selectbox(
        words["trail.actor"],
        list(names),
        index=None,
        format_func=lambda one: names[one],
        placeholder=words["trail.anybody"],
        width=240,
    )
    return f"user:{chosen}" if chosen else ""


def _table(items: list[dict[str, Any]], names: dict[str, str], words: Texts) -> None:
    html.table(
        [words[key] for key in ("trail.number", "moving.when", "moving.who", "trail.action", "trail.object", "moving.reason")],
        [
            [
                html.soft(words.whole(one["sequence"])),
                words.moment(one["at"], st.context.timezone, seconds=True),
                html.joined(_who(one["actor"], names, words), html.soft(one["address"])),
                html.chips([one["action"]]),
                html.code(_named(one["object"], names)),
                one["reason"],
            ]
            for one in items
        ],
    )


def _who(actor: str, names: dict[str, str], words: Texts) -> str:
    """Whoever did it; who sat at the machine itself is told in words."""
    return words[f"trail.{actor}"] if actor in {"cli", "open"} else _named(actor, names)


def _named(thing: str, names: dict[str, str]) -> str:
    """A user by name where the name is known, else as the audit has it."""
    kind, _, rest = thing.partition(":")
    return names.get(rest, thing) if kind == "user" else thing
