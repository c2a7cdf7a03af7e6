"""API key panel: lists keys, creates one and shows it once, rotates and revokes keys.

GET /keys ─► one page ─► table        POST /keys ─► shown once        POST /keys/{id}/rotate · DELETE /keys/{id}
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout
from relevo.console.actions import Confirmation, confirm, submit
from relevo.console.components import html
from relevo.console.components.pagination import Pager
from relevo.errors import AuthenticationError, RelevoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.console.session import Session
    from relevo.console.texts import Texts

_SCOPES = ("predict", "label", "read", "operate")
#: Lifetimes of a key, in days; None: no expiry.
_LIFETIMES = (30, 90, 365, None)
_OVERLAP_HOURS = 24
_NEW_KEY = "key-made"
_PAGE_SIZE = 50


def show(session: Session, names: dict[str, str], models: list[str]) -> None:
    """The list of keys, and the forms. names: user names by id."""
    texts = session.texts
    _show_new_key(texts)
    pager = Pager("keys", {}, page_size=_PAGE_SIZE)
    page = session.client.request_json("GET", "/keys", params=pager.params)
    keys = page["keys"]
    if keys:
        _table(keys, texts)
        pager.buttons(page["next_cursor"], texts)
    else:
        layout.show_empty_state(texts["keys.none"], texts["keys.none.next"])
    left, right = st.columns(2, gap="medium")
    with left:
        _create_form(session, names, models)
    with right:
        _change_form(session, [key for key in keys if not _is_expired(key)])


def _show_new_key(texts: Texts) -> None:
    """Shows the key that was just created; it cannot be shown again."""
    key = st.session_state.pop(_NEW_KEY, None)
    if key:
        st.warning(texts["keys.once"], icon=":material/key:")
        st.code(key, language=None)


def _table(keys: list[dict[str, Any]], texts: Texts) -> None:
    html.table(
        [texts[key] for key in ("keys.name", "keys.key", "people.user", "keys.for", "models.model", "keys.ends", "people.state")],
        [
            [
                key["name"],
                html.code(f"{key['id']}…"),
                key["owner"],
                html.chips(texts[f"keys.scope.{scope}"] for scope in key["scopes"]),
                key["model"] or texts["keys.every"],
                html.muted(texts.day(key["ends"], st.context.timezone) if key["ends"] else texts["keys.never"]),
                texts[_state(key)],
            ]
            for key in keys
        ],
    )


def _state(key: dict[str, Any]) -> str:
    if _is_expired(key):
        return "keys.over"
    return "keys.owner.disabled" if key["owner_disabled"] else "keys.counts"


def _is_expired(key: dict[str, Any]) -> bool:
    return bool(key["revoked"]) or bool(key["ends"] and datetime.fromisoformat(key["ends"]) <= datetime.now(UTC))


def _create_form(session: Session, names: dict[str, str], models: list[str]) -> None:
    texts = session.texts
    html.section(texts["keys.new"])
    with st.form("new-key", border=False):
        name = st.text_input(texts["keys.name"], max_chars=64, placeholder=texts["keys.name.example"])
        owner = st.selectbox(texts["people.user"], list(names), format_func=lambda user: names[user])
        scopes = st.pills(
            texts["keys.for"],
            _SCOPES,
            selection_mode="multi",
            default=["predict"],
            format_func=lambda scope: texts[f"keys.scope.{scope}"],
        )
        left, right = st.columns(2)
        model = left.selectbox(texts["models.model"], models, index=None, placeholder=texts["keys.every"])
        days = right.selectbox(texts["keys.ends"], _LIFETIMES, index=1, format_func=lambda days: _lifetime(days, texts))
        submitted = st.form_submit_button(texts["keys.new.act"], type="primary", icon=":material/key:")
    if submitted:
        body = {"name": name, "user": owner, "scopes": scopes, "model": model, "days": days}
        _create(session, lambda: session.client.request_json("POST", "/keys", json=body))


def _lifetime(days: int | None, texts: Texts) -> str:
    return texts["keys.never"] if days is None else texts("keys.days", days=days)


def _create(session: Session, request: Callable[[], Any]) -> None:
    """Sends a request that creates a key, and reruns the page, which shows the key."""
    try:
        st.session_state[_NEW_KEY] = request()["key"]
    except AuthenticationError:
        raise
    except RelevoError as error:
        layout.show_error(session.texts, error)
        return
    st.rerun()


def _change_form(session: Session, keys: list[dict[str, Any]]) -> None:
    texts = session.texts
    if not keys:
        return
    html.section(texts["keys.change"])
    key = st.selectbox(
        texts["keys.key"], keys, index=None, placeholder=texts["keys.choose"], key="changed-key",
        format_func=lambda key: f"{key['name']} · {key['id']}…",
    )  # fmt: skip
    html.note(texts("keys.change.lead", hours=_OVERLAP_HOURS))
    with st.container(horizontal=True):
        rotate = st.button(texts["keys.rotate"], icon=":material/autorenew:", disabled=key is None)
        revoke = st.button(texts["keys.revoke"], icon=":material/block:", disabled=key is None)
    if key is None:
        return
    values = {"name": key["name"], "id": key["id"], "owner": key["owner"], "hours": _OVERLAP_HOURS}
    if rotate:
        body = {"overlap_hours": _OVERLAP_HOURS}
        request = partial(session.client.request_json, "POST", f"/keys/{key['id']}/rotate", json=body)
        confirm(session, _confirmation(texts, "rotate", values), lambda: _create(session, request))
    if revoke:
        request = partial(session.client.request_json, "DELETE", f"/keys/{key['id']}")
        revoked = texts("keys.revoked", name=key["name"])
        confirm(session, _confirmation(texts, "revoke", values), lambda: submit(session, revoked, request))


def _confirmation(texts: Texts, action: str, values: dict[str, Any]) -> Confirmation:
    return Confirmation(
        title=texts[f"keys.{action}"],
        text=texts(f"keys.{action}.ask", **values),
        act=texts(f"keys.{action}.act", name=values["name"]),
    )
