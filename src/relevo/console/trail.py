"""The audit as a table: who changed what, newest first, a page of the database at a time.

object, actor, cursor ─► GET /audit ─► one page        the cursors of the pages before are kept, so that one can go back
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import frame, pieces

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.words import Words

_A_PAGE = 25
_CURSORS = "trail-cursors"
_FILTERS = "trail-filters"


def show(here: Session, names: dict[str, str]) -> None:
    """The audit. names: of users by their id, where they may be known."""
    words = here.words
    pieces.note(words["trail.lead"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        thing = st.text_input(words["trail.object"], placeholder="model:digits/alias:champion", width=320)
        actor = _actor_chosen(names, words)
    wanted = {key: value for key, value in (("object", thing.strip()), ("actor", actor)) if value}
    cursors = _cursors(wanted)
    asked = {**wanted, "limit": str(_A_PAGE), **({"cursor": cursors[-1]} if cursors else {})}
    found = here.client.ask("GET", "/audit", params=asked)
    if not found["items"]:
        frame.say(words["trail.none"], words["trail.none.next"])
        return
    _table(found["items"], names, words)
    _turn(cursors, found["next_cursor"], words)


def _actor_chosen(names: dict[str, str], words: Words) -> str:
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


def _cursors(wanted: dict[str, str]) -> list[str]:
    """Where the pages before this one began, but for the first; other filters begin anew."""
    if st.session_state.get(_FILTERS) != wanted:
        st.session_state[_FILTERS], st.session_state[_CURSORS] = wanted, []
    cursors: list[str] = st.session_state[_CURSORS]
    return cursors


def _table(items: list[dict[str, Any]], names: dict[str, str], words: Words) -> None:
    pieces.table(
        [words[key] for key in ("trail.number", "moving.when", "moving.who", "trail.action", "trail.object", "moving.reason")],
        [
            [
                pieces.soft(words.whole(one["sequence"])),
                words.moment(one["at"], st.context.timezone, seconds=True),
                pieces.joined(_who(one["actor"], names, words), pieces.soft(one["address"])),
                pieces.chips([one["action"]]),
                pieces.code(_named(one["object"], names)),
                one["reason"],
            ]
            for one in items
        ],
    )


def _who(actor: str, names: dict[str, str], words: Words) -> str:
    """Whoever did it; who sat at the machine itself is told in words."""
    return words[f"trail.{actor}"] if actor in {"cli", "open"} else _named(actor, names)


def _named(thing: str, names: dict[str, str]) -> str:
    """A user by name where the name is known, else as the audit has it."""
    kind, _, rest = thing.partition(":")
    return names.get(rest, thing) if kind == "user" else thing


def _turn(cursors: list[str], following: str | None, words: Words) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(words["trail.newer"], icon=":material/chevron_left:", disabled=not cursors):
            cursors.pop()
            st.rerun()
        if st.button(words["trail.older"], icon=":material/chevron_right:", disabled=following is None):
            cursors.append(str(following))
            st.rerun()
        pieces.line(pieces.soft(words("trail.page", page=words.whole(len(cursors) + 1))))
