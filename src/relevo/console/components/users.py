"""Users: who there are, a new one, and what each may do. The server decides; this only asks.

GET /users ─► a page of them ─► table        POST /users · PATCH /users/{id} · POST /users/{id}/password
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console.actions import Question, ask_first, attempt, tell_done
from relevo.console.components import html
from relevo.console.components.pagination import Turns

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts

_ROLES = ("viewer", "labeler", "operator", "admin")
_NONE = "none"
_A_PAGE = 50
_SOUGHT = "users-sought"


def first(here: Session) -> None:
    """A server without users: what that means, and the form for the first one."""
    words = here.words
    left, right = st.columns([3, 2], gap="large")
    with left:
        html.section(words["people.first"], words["people.first.lead"])
        with st.form("first-user", border=False):
            name = st.text_input(words["people.name"], max_chars=64, autocomplete="username")
            password = st.text_input(words["people.password"], type="password", autocomplete="new-password")
            asked = st.form_submit_button(words["people.first.act"], type="primary", icon=":material/shield_person:")
        if asked:
            body = {"name": name, "role": "admin", "password": password}
            attempt(here, words("people.added", name=name), lambda: here.client.ask("POST", "/users", json=body))
    with right:
        html.section(words["people.roles"])
        _roles(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPage:
    """Some of the users, by name; lives as long as one drawing."""

    users: list[dict[str, Any]]
    following: str | None  # where the next ones begin
    turns: Turns
    alone: bool  # whether these are all there are


def page(here: Session) -> UserPage | None:
    """The users of the page that is turned to, of those that are sought; None where there are none at all."""
    sought = str(st.session_state.get(_SOUGHT) or "").strip()
    turns = Turns("users", {"name": sought} if sought else {}, a_page=_A_PAGE)
    found = here.client.ask("GET", "/users", params=turns.asked)
    following = found["next_cursor"]
    alone = not sought and following is None and "cursor" not in turns.asked
    if alone and not found["users"]:
        return None
    return UserPage(users=found["users"], following=following, turns=turns, alone=alone)


def show(here: Session, page: UserPage, models: list[str]) -> None:
    """The users of a page, and the two forms."""
    words = here.words
    tell_done()
    if not page.alone:
        st.text_input(words["people.find"], key=_SOUGHT, max_chars=64, icon=":material/search:", width=320)
    if page.users:
        _table(page.users, words)
    else:
        html.note(words["people.find.none"])
    page.turns.buttons(page.following, words, back="people.previous", on="people.next")
    left, right = st.columns(2, gap="medium")
    with left:
        _new(here)
    with right:
        if page.users:
            _change(here, page.users, models)
    with st.expander(words["people.roles"], icon=":material/help:"):
        _roles(words)


def _table(some: list[dict[str, Any]], words: Texts) -> None:
    html.table(
        [words[key] for key in ("people.name", "people.role", "people.grants", "people.since", "people.state")],
        [
            [
                user["name"],
                words[f"role.{user['role'] or _NONE}"],
                html.chips(f"{model}: {words[f'role.{role}']}" for model, role in sorted(user["grants"].items())),
                html.soft(words.day(user["made"], st.context.timezone)),
                _state(user, words),
            ]
            for user in some
        ],
    )


def _state(user: dict[str, Any], words: Texts) -> str:
    if user["disabled"]:
        return words["people.disabled"]
    if user["issuer"]:
        return words["people.elsewhere"]
    return words["people.active"] if user["has_password"] else words["people.no_password"]


def _new(here: Session) -> None:
    words = here.words
    html.section(words["people.new"])
    with st.form("new-user", border=False, clear_on_submit=False):
        name = st.text_input(words["people.name"], max_chars=64, autocomplete="off")
        role = st.selectbox(words["people.role"], [*_ROLES, _NONE], format_func=lambda one: words[f"role.{one}"])
        password = st.text_input(
            words["people.password"], type="password", autocomplete="new-password", help=words["people.password.help"]
        )
        asked = st.form_submit_button(words["people.new.act"], type="primary", icon=":material/person_add:")
    if asked:
        body = {"name": name, "role": _role(role), "password": password or None}
        attempt(here, words("people.added", name=name), lambda: here.client.ask("POST", "/users", json=body))


def _change(here: Session, some: list[dict[str, Any]], models: list[str]) -> None:
    words = here.words
    html.section(words["people.change"])
    user = st.selectbox(words["people.user"], some, format_func=lambda one: str(one["name"]), key="changed-user")
    path = f"/users/{user['id']}"
    # What the fields begin with is this user's, so each user has fields of their own.
    with st.form(f"change-{user['id']}", border=False):
        roles = [*_ROLES, _NONE]
        role = st.selectbox(
            words["people.role"], roles, index=roles.index(user["role"] or _NONE), format_func=lambda one: words[f"role.{one}"]
        )
        left, right = st.columns(2)
        model = left.selectbox(words["people.grant.model"], models, index=None, placeholder=words["people.grant.none"])
        grant = right.selectbox(words["people.grant.role"], [*_ROLES[:-1], _NONE], format_func=lambda one: words[f"role.{one}"])
        disabled = st.toggle(words["people.disable"], value=bool(user["disabled"]))
        asked = st.form_submit_button(words["people.change.act"], icon=":material/save:")
    if asked:
        body: dict[str, Any] = {"role": _role(role), "disabled": disabled}
        if model:
            body["grants"] = {model: _role(grant)}
        act = partial(attempt, here, words("people.changed", name=user["name"]), lambda: here.client.ask("PATCH", path, json=body))
        loses = _losses(words, user, body)
        if loses:
            text = words("people.ask", name=user["name"], loses=", ".join(loses))
            title = words("people.ask.title", name=user["name"])
            ask_first(here, Question(title=title, text=text, act=words("people.ask.act", name=user["name"])), act)
        else:
            act()
    with st.popover(words["people.password.set"], icon=":material/password:"):
        _password(here, user, path)


def _losses(words: Texts, user: dict[str, Any], body: dict[str, Any]) -> list[str]:
    """What a change takes from a user, each as a phrase."""
    loses = [words["people.ask.disabled"]] if body["disabled"] and not user["disabled"] else []
    if user["role"] and body["role"] is None:
        loses.append(words("people.ask.role", role=words[f"role.{user['role']}"]))
    taken = [model for model, role in body.get("grants", {}).items() if role is None and model in user["grants"]]
    return loses + [words("people.ask.grant", model=model, role=words[f"role.{user['grants'][model]}"]) for model in taken]


def _password(here: Session, user: dict[str, Any], path: str) -> None:
    words, own = here.words, user["id"] == here.me.get("id")
    with st.form(f"password-{user['id']}", border=False):
        current = st.text_input(words["people.password.current"], type="password") if own else ""
        password = st.text_input(words["people.password.new"], type="password", autocomplete="new-password")
        asked = st.form_submit_button(words["people.password.act"], type="primary")
    if asked:
        body = {"password": password, **({"current": current} if own else {})}
        done = words("people.password.done", name=user["name"])
        attempt(here, done, lambda: here.client.ask("POST", f"{path}/password", json=body))


def _role(chosen: str) -> str | None:
    return None if chosen == _NONE else chosen


def _roles(words: Texts) -> None:
    html.facts((words[f"role.{role}"], words[f"people.may.{role}"]) for role in _ROLES)
