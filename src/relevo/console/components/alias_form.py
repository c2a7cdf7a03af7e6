"""Moving an alias, with a reason, and who moved which one when. A move is tied to where the alias stood when the page was drawn.

alias, version, reason ─ PUT /models/{name}/aliases/{alias} with If-Match ─► moved        stood elsewhere meanwhile ─► refused
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout
from relevo.console.actions import Question, ask_first
from relevo.console.components import html
from relevo.console.components.version_comparison import called
from relevo.console.markdown import escape_markdown
from relevo.errors import RelevoError

if TYPE_CHECKING:
    from relevo.console.session import Session

_USUAL = ("champion", "challenger")
_LONGEST_REASON = 500
_NEWEST = 15


def show(here: Session, model: dict[str, Any]) -> None:
    """The form for who may move an alias, and the moves so far."""
    words = here.words
    html.section(words["moving.title"], words["moving.lead"])
    told = st.session_state.pop("moving-told", None)
    if told:
        st.success(escape_markdown(told), icon=":material/check:")
    left, right = st.columns([1, 2], gap="medium")
    with left:
        if here.is_at_least("operator", model["name"]):
            _form(here, model)
        else:
            html.note(words["moving.not_you"])
    with right:
        _history(here, model["name"])


def _form(here: Session, model: dict[str, Any]) -> None:
    words, aliases = here.words, model["aliases"]
    known = list(dict.fromkeys([*_USUAL, *sorted(aliases)]))
    numbers = [one["version"] for one in model["history"]]
    with st.form(f"move-{model['name']}", border=False):
        alias = st.selectbox(words["moving.alias"], known, accept_new_options=True, help=words["moving.alias.help"])
        version = st.selectbox(words["moving.version"], numbers, format_func=called)
        reason = st.text_input(words["moving.reason"], max_chars=_LONGEST_REASON, placeholder=words["moving.reason.example"])
        force = st.checkbox(words["moving.force"], help=words["moving.force.help"])
        asked = st.form_submit_button(words["moving.act"], type="primary", icon=":material/sprint:")
    if not asked:
        return
    if not reason.strip():
        st.warning(words["moving.why"], icon=":material/edit:")
        return
    act = partial(_move, here, model, str(alias), int(version), reason.strip(), force=force)
    stands = aliases.get(str(alias))
    if alias != _USUAL[0] or stands in (None, version):
        act()
        return
    facts = {"model": model["name"], "version": called(version), "before": called(stands)}
    question = Question(
        title=words("moving.ask.title", **facts), text=words("moving.ask", **facts), act=words("moving.ask.act", **facts)
    )
    ask_first(here, question, act)


def _move(here: Session, model: dict[str, Any], alias: str, version: int, reason: str, *, force: bool) -> None:
    stands = model["aliases"].get(alias, 0)
    path = f"/models/{model['name']}/aliases/{alias}"
    try:
        here.client.ask(
            "PUT", path, json={"version": version, "reason": reason, "force": force}, headers={"If-Match": f'"{stands}"'}
        )
    except RelevoError as error:
        layout.say_refused(here.words, error)
        return
    st.session_state["moving-told"] = here.words("moving.done", alias=alias, version=called(version))
    st.rerun()


def _history(here: Session, name: str) -> None:
    words = here.words
    moves = here.client.ask("GET", f"/models/{name}/aliases")["moves"]
    html.table(
        [words[key] for key in ("moving.when", "moving.alias", "moving.version", "moving.who", "moving.reason")],
        [
            [
                html.soft(words.moment(move["at"], st.context.timezone)),
                move["alias"],
                f"{called(move['previous'])} → {called(move['version'])}" if move["previous"] else called(move["version"]),
                move["author"],
                move["reason"],
            ]
            for move in moves[:_NEWEST]
        ],
    )
