"""Keys for programs: who holds which, a new one shown once, changing one for another, and revoking.

GET /keys ─► a page of them ─► table        POST /keys ─► shown once        POST /keys/{id}/rotate · DELETE /keys/{id}
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout
from relevo.console.actions import Question, ask_first, attempt
from relevo.console.components import html
from relevo.console.components.pagination import Turns
from relevo.errors import AuthenticationError, RelevoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.console.session import Session
    from relevo.console.texts import Texts

_SCOPES = ("predict", "label", "read", "operate")
#: Days until a key ends; None: never.
_DAYS = (30, 90, 365, None)
_OVERLAP_HOURS = 24
_MADE = "key-made"
_A_PAGE = 50


def show(here: Session, names: dict[str, str], models: list[str]) -> None:
    """The keys, and what can be done with them."""
    words = here.words
    _once(words)
    turns = Turns("keys", {}, a_page=_A_PAGE)
    found = here.client.ask("GET", "/keys", params=turns.asked)
    known = found["keys"]
    if known:
        _table(known, words)
        turns.buttons(found["next_cursor"], words)
    else:
        layout.say(words["keys.none"], words["keys.none.next"])
    left, right = st.columns(2, gap="medium")
    with left:
        _new(here, names, models)
    with right:
        _end(here, [key for key in known if not _over(key)])


def _once(words: Texts) -> None:
    """A key that was made a moment ago: this is the only time it is told."""
    made = st.session_state.pop(_MADE, None)
    if made:
        st.warning(words["keys.once"], icon=":material/key:")
        st.code(made, language=None)


def _table(known: list[dict[str, Any]], words: Texts) -> None:
    html.table(
        [words[key] for key in ("keys.name", "keys.key", "people.user", "keys.for", "models.model", "keys.ends", "people.state")],
        [
            [
                key["name"],
                html.code(f"{key['id']}…"),
                key["owner"],
                html.chips(words[f"keys.scope.{scope}"] for scope in key["scopes"]),
                key["model"] or words["keys.every"],
                html.soft(words.day(key["ends"], st.context.timezone) if key["ends"] else words["keys.never"]),
                words[_state(key)],
            ]
            for key in known
        ],
    )


def _state(key: dict[str, Any]) -> str:
    if _over(key):
        return "keys.over"
    return "keys.owner.disabled" if key["owner_disabled"] else "keys.counts"


def _over(key: dict[str, Any]) -> bool:
    return bool(key["revoked"]) or bool(key["ends"] and datetime.fromisoformat(key["ends"]) <= datetime.now(UTC))


def _new(here: Session, names: dict[str, str], models: list[str]) -> None:
    words = here.words
    html.section(words["keys.new"])
    with st.form("new-key", border=False):
        name = st.text_input(words["keys.name"], max_chars=64, placeholder=words["keys.name.example"])
        owner = st.selectbox(words["people.user"], list(names), format_func=lambda one: names[one])
        scopes = st.pills(
            words["keys.for"],
            _SCOPES,
            selection_mode="multi",
            default=["predict"],
            format_func=lambda one: words[f"keys.scope.{one}"],
        )
        left, right = st.columns(2)
        model = left.selectbox(words["models.model"], models, index=None, placeholder=words["keys.every"])
        days = right.selectbox(words["keys.ends"], _DAYS, index=1, format_func=lambda one: _lasting(one, words))
        asked = st.form_submit_button(words["keys.new.act"], type="primary", icon=":material/key:")
    if asked:
        body = {"name": name, "user": owner, "scopes": scopes, "model": model, "days": days}
        _made(here, lambda: here.client.ask("POST", "/keys", json=body))


def _lasting(days: int | None, words: Texts) -> str:
    return words["keys.never"] if days is None else words("keys.days", days=days)


def _made(here: Session, ask: Callable[[], Any]) -> None:
    try:
        st.session_state[_MADE] = ask()["key"]
    except AuthenticationError:
        raise
    except RelevoError as error:
        layout.say_refused(here.words, error)
        return
    st.rerun()


def _end(here: Session, known: list[dict[str, Any]]) -> None:
    words = here.words
    if not known:
        return
    html.section(words["keys.change"])
    key = st.selectbox(
        words["keys.key"], known, index=None, placeholder=words["keys.choose"], key="changed-key",
        format_func=lambda one: f"{one['name']} · {one['id']}…",
    )  # fmt: skip
    html.note(words("keys.change.lead", hours=_OVERLAP_HOURS))
    with st.container(horizontal=True):
        rotated = st.button(words["keys.rotate"], icon=":material/autorenew:", disabled=key is None)
        revoked = st.button(words["keys.revoke"], icon=":material/block:", disabled=key is None)
    if key is None:
        return
    facts = {"name": key["name"], "id": key["id"], "owner": key["owner"], "hours": _OVERLAP_HOURS}
    if rotated:
        body = {"overlap_hours": _OVERLAP_HOURS}
        act = partial(here.client.ask, "POST", f"/keys/{key['id']}/rotate", json=body)
        ask_first(here, _question(words, "rotate", facts), lambda: _made(here, act))
    if revoked:
        act = partial(here.client.ask, "DELETE", f"/keys/{key['id']}")
        ask_first(here, _question(words, "revoke", facts), lambda: attempt(here, words("keys.revoked", name=key["name"]), act))


def _question(words: Texts, what: str, facts: dict[str, Any]) -> Question:
    return Question(
        title=words[f"keys.{what}"], text=words(f"keys.{what}.ask", **facts), act=words(f"keys.{what}.act", name=facts["name"])
    )
