"""Audit log as a table, newest first, with filters and pagination; and the table of failed logins.

object, actor, cursor ─► GET /audit ─► one page        GET /audit/sign-ins ─► failed logins
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import layout
from relevo.console.components import html
from relevo.console.components.pagination import Pager

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts

_PAGE_SIZE = 25


def show(session: Session, names: dict[str, str]) -> None:
    """The audit log. names: user names by id; empty if the user may not see them."""
    texts = session.texts
    html.note(texts["trail.lead"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        target = st.text_input(texts["trail.object"], placeholder="model:digits/alias:champion", width=320)
        actor = _select_actor(names, texts)
    filters = {key: value for key, value in (("object", target.strip()), ("actor", actor)) if value}
    pager = Pager("trail", filters, page_size=_PAGE_SIZE)
    page = session.client.request_json("GET", "/audit", params=pager.params)
    if not page["items"]:
        layout.show_empty_state(texts["trail.none"], texts["trail.none.next"])
        return
    _table(page["items"], names, texts)
    pager.buttons(page["next_cursor"], texts)


def show_failed_logins(session: Session) -> None:
    """The failed logins, newest first."""
    texts = session.texts
    failures = session.client.request_json("GET", "/audit/sign-ins", params={"limit": _PAGE_SIZE})["items"]
    layout.heading(texts["attempts.heading"], texts["attempts.lead"] if failures else texts["attempts.none"])
    if failures:
        _failures_table(failures, texts)


def _failures_table(items: list[dict[str, Any]], texts: Texts) -> None:
    html.table(
        [texts[f"attempts.{key}"] for key in ("last", "name", "address", "reason", "tries")],
        [
            [
                texts.moment(entry["last"], st.context.timezone, seconds=True),
                entry["name"] or html.muted(texts("attempts.unknown", mark=entry["mark"][:6])),
                html.code(entry["address"]),
                texts[f"attempts.{entry['reason']}"],
                html.muted(texts.integer(entry["tries"])),
            ]
            for entry in items
        ],
    )


def _select_actor(names: dict[str, str], texts: Texts) -> str:
    if not names:
        return ""
    user = st.selectbox(
        texts["trail.actor"],
        list(names),
        index=None,
        format_func=lambda user_id: names[user_id],
        placeholder=texts["trail.anybody"],
        width=240,
    )
    return f"user:{user}" if user else ""


def _table(items: list[dict[str, Any]], names: dict[str, str], texts: Texts) -> None:
    html.table(
        [texts[key] for key in ("trail.number", "moving.when", "moving.who", "trail.action", "trail.object", "moving.reason")],
        [
            [
                html.muted(texts.integer(entry["sequence"])),
                texts.moment(entry["at"], st.context.timezone, seconds=True),
                html.join(_actor(entry["actor"], names, texts), html.muted(entry["address"])),
                html.chips([entry["action"]]),
                html.code(_with_user_name(entry["object"], names)),
                entry["reason"],
            ]
            for entry in items
        ],
    )


def _actor(actor: str, names: dict[str, str], texts: Texts) -> str:
    """The actor as a user name, or as a text for actors on the machine itself ("cli", "open")."""
    return texts[f"trail.{actor}"] if actor in {"cli", "open"} else _with_user_name(actor, names)


def _with_user_name(reference: str, names: dict[str, str]) -> str:
    """Replaces a user id by the user name if it is known: "user:<id>" becomes the name."""
    kind, _, identifier = reference.partition(":")
    return names.get(identifier, reference) if kind == "user" else reference
