"""Form that moves an alias to a version, and the history of its moves.

alias, version, reason ─ PUT /models/{name}/aliases/{alias} with If-Match ─► moved        changed since the page was drawn ─► error
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout
from relevo.console.actions import Confirmation, confirm
from relevo.console.components import html
from relevo.console.components.version_comparison import version_label
from relevo.console.markdown import escape_markdown
from relevo.errors import RelevoError

if TYPE_CHECKING:
    from relevo.console.session import Session

_STANDARD_ALIASES = ("champion", "challenger")
_MAX_REASON_CHARS = 500
_HISTORY_ROWS = 15
_RESULT = "alias-move-result"


def show(session: Session, model: dict[str, Any]) -> None:
    """The form, for users who may move an alias, and the moves so far."""
    texts = session.texts
    html.section(texts["moving.title"], texts["moving.lead"])
    message = st.session_state.pop(_RESULT, None)
    if message:
        st.success(escape_markdown(message), icon=":material/check:")
    left, right = st.columns([1, 2], gap="medium")
    with left:
        if session.is_at_least("operator", model["name"]):
            _form(session, model)
        else:
            html.note(texts["moving.not_you"])
    with right:
        _history(session, model["name"])


def _form(session: Session, model: dict[str, Any]) -> None:
    texts, aliases = session.texts, model["aliases"]
    names = list(dict.fromkeys([*_STANDARD_ALIASES, *sorted(aliases)]))
    numbers = [version["version"] for version in model["history"]]
    with st.form(f"move-{model['name']}", border=False):
        alias = st.selectbox(texts["moving.alias"], names, accept_new_options=True, help=texts["moving.alias.help"])
        version = st.selectbox(texts["moving.version"], numbers, format_func=version_label)
        reason = st.text_input(texts["moving.reason"], max_chars=_MAX_REASON_CHARS, placeholder=texts["moving.reason.example"])
        force = st.checkbox(texts["moving.force"], help=texts["moving.force.help"])
        submitted = st.form_submit_button(texts["moving.act"], type="primary", icon=":material/sprint:")
    if not submitted:
        return
    if not reason.strip():
        st.warning(texts["moving.why"], icon=":material/edit:")
        return
    move = partial(_move, session, model, str(alias), int(version), reason.strip(), force=force)
    current = aliases.get(str(alias))
    if alias != _STANDARD_ALIASES[0] or current in (None, version):
        move()
        return
    values = {"model": model["name"], "version": version_label(version), "before": version_label(current)}
    confirmation = Confirmation(
        title=texts("moving.ask.title", **values), text=texts("moving.ask", **values), act=texts("moving.ask.act", **values)
    )
    confirm(session, confirmation, move)


def _move(session: Session, model: dict[str, Any], alias: str, version: int, reason: str, *, force: bool) -> None:
    current = model["aliases"].get(alias, 0)
    path = f"/models/{model['name']}/aliases/{alias}"
    try:
        session.client.request_json(
            "PUT", path, json={"version": version, "reason": reason, "force": force}, headers={"If-Match": f'"{current}"'}
        )
    except RelevoError as error:
        layout.show_error(session.texts, error)
        return
    st.session_state[_RESULT] = session.texts("moving.done", alias=alias, version=version_label(version))
    st.rerun()


def _history(session: Session, name: str) -> None:
    texts = session.texts
    moves = session.client.request_json("GET", f"/models/{name}/aliases")["moves"]
    html.table(
        [texts[key] for key in ("moving.when", "moving.alias", "moving.version", "moving.who", "moving.reason")],
        [
            [
                html.muted(texts.moment(move["at"], st.context.timezone)),
                move["alias"],
                f"{version_label(move['previous'])} → {version_label(move['version'])}"
                if move["previous"]
                else version_label(move["version"]),
                move["author"],
                move["reason"],
            ]
            for move in moves[:_HISTORY_ROWS]
        ],
    )
