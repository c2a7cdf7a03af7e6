"""User panel: lists users, creates them, changes roles, access and passwords.

GET /users ─► one page ─► table        POST /users · PATCH /users/{id} · POST /users/{id}/password
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console.actions import Confirmation, confirm, show_result, submit
from relevo.console.components import html
from relevo.console.components.pagination import Pager

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts

_ROLES = ("viewer", "labeler", "operator", "admin")
_NONE = "none"
_PAGE_SIZE = 50
_SEARCH = "users-search"


def show_first_user(session: Session) -> None:
    """For a server without users: an explanation, and the form for the first user, an admin."""
    texts = session.texts
    left, right = st.columns([3, 2], gap="large")
    with left:
        html.section(texts["people.first"], texts["people.first.lead"])
        with st.form("first-user", border=False):
            name = st.text_input(texts["people.name"], max_chars=64, autocomplete="username")
            password = st.text_input(texts["people.password"], type="password", autocomplete="new-password")
            submitted = st.form_submit_button(texts["people.first.act"], type="primary", icon=":material/shield_person:")
        if submitted:
            body = {"name": name, "role": "admin", "password": password}
            submit(session, texts("people.added", name=name), lambda: session.client.request_json("POST", "/users", json=body))
    with right:
        html.section(texts["people.roles"])
        _role_list(texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPage:
    """One page of users in the order of their names. Lifetime: one page run."""

    users: list[dict[str, Any]]
    next_cursor: str | None
    pager: Pager
    is_complete: bool  # whether the page contains all users


def load_page(session: Session) -> UserPage | None:
    """The selected page of the users that match the search; None if the server has no users."""
    search = str(st.session_state.get(_SEARCH) or "").strip()
    pager = Pager("users", {"name": search} if search else {}, page_size=_PAGE_SIZE)
    response = session.client.request_json("GET", "/users", params=pager.params)
    next_cursor = response["next_cursor"]
    is_complete = not search and next_cursor is None and "cursor" not in pager.params
    if is_complete and not response["users"]:
        return None
    return UserPage(users=response["users"], next_cursor=next_cursor, pager=pager, is_complete=is_complete)


def show(session: Session, page: UserPage, models: list[str]) -> None:
    """The users of a page, the form for a new user and the form for changes."""
    texts = session.texts
    show_result()
    if not page.is_complete:
        st.text_input(texts["people.find"], key=_SEARCH, max_chars=64, icon=":material/search:", width=320)
    if page.users:
        _table(page.users, texts)
    else:
        html.note(texts["people.find.none"])
    page.pager.buttons(page.next_cursor, texts, previous_key="people.previous", next_key="people.next")
    left, right = st.columns(2, gap="medium")
    with left:
        _create_form(session)
    with right:
        if page.users:
            _change_form(session, page.users, models)
    with st.expander(texts["people.roles"], icon=":material/help:"):
        _role_list(texts)


def _table(users: list[dict[str, Any]], texts: Texts) -> None:
    html.table(
        [texts[key] for key in ("people.name", "people.role", "people.grants", "people.since", "people.state")],
        [
            [
                user["name"],
                texts[f"role.{user['role'] or _NONE}"],
                html.chips(f"{model}: {texts[f'role.{role}']}" for model, role in sorted(user["grants"].items())),
                html.muted(texts.day(user["made"], st.context.timezone)),
                _state(user, texts),
            ]
            for user in users
        ],
    )


def _state(user: dict[str, Any], texts: Texts) -> str:
    if user["disabled"]:
        return texts["people.disabled"]
    if user["issuer"]:
        return texts["people.elsewhere"]
    return texts["people.active"] if user["has_password"] else texts["people.no_password"]


def _create_form(session: Session) -> None:
    texts = session.texts
    html.section(texts["people.new"])
    with st.form("new-user", border=False, clear_on_submit=False):
        name = st.text_input(texts["people.name"], max_chars=64, autocomplete="off")
        role = st.selectbox(texts["people.role"], [*_ROLES, _NONE], format_func=lambda role: texts[f"role.{role}"])
        password = st.text_input(
            texts["people.password"], type="password", autocomplete="new-password", help=texts["people.password.help"]
        )
        submitted = st.form_submit_button(texts["people.new.act"], type="primary", icon=":material/person_add:")
    if submitted:
        body = {"name": name, "role": _role(role), "password": password or None}
        submit(session, texts("people.added", name=name), lambda: session.client.request_json("POST", "/users", json=body))


def _change_form(session: Session, users: list[dict[str, Any]], models: list[str]) -> None:
    texts = session.texts
    html.section(texts["people.change"])
    user = st.selectbox(texts["people.user"], users, format_func=lambda user: str(user["name"]), key="changed-user")
    path = f"/users/{user['id']}"
    # The fields start with the values of this user, so every user needs a form with its own key.
    with st.form(f"change-{user['id']}", border=False):
        roles = [*_ROLES, _NONE]
        role = st.selectbox(
            texts["people.role"], roles, index=roles.index(user["role"] or _NONE), format_func=lambda role: texts[f"role.{role}"]
        )
        left, right = st.columns(2)
        model = left.selectbox(texts["people.grant.model"], models, index=None, placeholder=texts["people.grant.none"])
        grant = right.selectbox(texts["people.grant.role"], [*_ROLES[:-1], _NONE], format_func=lambda role: texts[f"role.{role}"])
        disabled = st.toggle(texts["people.disable"], value=bool(user["disabled"]))
        submitted = st.form_submit_button(texts["people.change.act"], icon=":material/save:")
    if submitted:
        body: dict[str, Any] = {"role": _role(role), "disabled": disabled}
        if model:
            body["grants"] = {model: _role(grant)}
        change = partial(
            submit,
            session,
            texts("people.changed", name=user["name"]),
            lambda: session.client.request_json("PATCH", path, json=body),
        )
        losses = _losses(texts, user, body)
        if losses:
            text = texts("people.ask", name=user["name"], loses=", ".join(losses))
            title = texts("people.ask.title", name=user["name"])
            confirm(session, Confirmation(title=title, text=text, act=texts("people.ask.act", name=user["name"])), change)
        else:
            change()
    with st.popover(texts["people.password.set"], icon=":material/password:"):
        _password_form(session, user, path)


def _losses(texts: Texts, user: dict[str, Any], body: dict[str, Any]) -> list[str]:
    """Phrases for the permissions that a change removes from a user."""
    losses = [texts["people.ask.disabled"]] if body["disabled"] and not user["disabled"] else []
    if user["role"] and body["role"] is None:
        losses.append(texts("people.ask.role", role=texts[f"role.{user['role']}"]))
    removed = [model for model, role in body.get("grants", {}).items() if role is None and model in user["grants"]]
    return losses + [texts("people.ask.grant", model=model, role=texts[f"role.{user['grants'][model]}"]) for model in removed]


def _password_form(session: Session, user: dict[str, Any], path: str) -> None:
    texts, is_own = session.texts, user["id"] == session.me.get("id")
    with st.form(f"password-{user['id']}", border=False):
        current = st.text_input(texts["people.password.current"], type="password") if is_own else ""
        password = st.text_input(texts["people.password.new"], type="password", autocomplete="new-password")
        submitted = st.form_submit_button(texts["people.password.act"], type="primary")
    if submitted:
        body = {"password": password, **({"current": current} if is_own else {})}
        done = texts("people.password.done", name=user["name"])
        submit(session, done, lambda: session.client.request_json("POST", f"{path}/password", json=body))


def _role(selected: str) -> str | None:
    return None if selected == _NONE else selected


def _role_list(texts: Texts) -> None:
    html.definition_list((texts[f"role.{role}"], texts[f"people.may.{role}"]) for role in _ROLES)
