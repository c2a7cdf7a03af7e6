"""The common layout of all pages: style, logo, current user, language links, empty states and error messages."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import streamlit as st

from relevo.console.assets import read_asset
from relevo.console.auth import sessions
from relevo.console.texts import NATIVE

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts
    from relevo.errors import RelevoError


#: CSS variables that replace English texts of Streamlit's widgets, and the keys of their translations.
_CSS_TEXTS = {
    "choose-file": "classify.choose",
    "take-photo": "classify.take",
    "clear-photo": "classify.again",
    "allow-camera": "classify.allow",
    "not-taken": "classify.not_taken",
    "skip": "frame.skip",
}


def begin_page(texts: Texts) -> None:
    """Sets title, width and style of the page; must run before all other widgets."""
    st.set_page_config(page_title="Relevo", page_icon=read_asset("mark.svg"), layout="wide", initial_sidebar_state="auto")
    variables = "".join(f"--{name}: '{texts[key]}'; " for name, key in _CSS_TEXTS.items())
    st.html(f"<style>{read_asset('console.css')}\n:root {{ {variables}}}</style>")


def sidebar(session: Session) -> None:
    """Logo, current user with the logout button, and the language links."""
    st.logo(read_asset("brand.svg"), size="large", icon_image=read_asset("brand.svg"))
    with st.sidebar:
        st.html(_user_html(session) + _language_links(session.texts))


def heading(title: str, lead: str = "") -> None:
    """The title of a page, with an optional sentence under it."""
    paragraph = f"<p>{html.escape(lead)}</p>" if lead else ""
    st.html(f'<header class="rv-head"><h1>{html.escape(title)}</h1>{paragraph}</header>')


def caption(text: str) -> None:
    """A remark in small print."""
    st.html(f'<p class="rv-small">{escape(text)}</p>')


def escape(text: str) -> str:
    """A text escaped for HTML."""
    return html.escape(text)


def show_empty_state(title: str, what_next: str, *, link: str = "") -> None:
    """Explains why the page is empty, and what to do next. link: trusted HTML below the text."""
    st.html(empty_state(title, what_next, link=link))


def empty_state(title: str, what_next: str, *, link: str = "") -> str:
    """The HTML of `show_empty_state`."""
    return f'<div class="rv-empty"><div class="rv-lanes"></div><h2>{escape(title)}</h2><p>{_format_code(what_next)}</p>{link}</div>'


def show_session_expired(texts: Texts) -> None:
    """The session has ended: shows a link to the login page."""
    query = urlencode({"next": _current_address()})
    link = f'<a class="rv-act" href="/sign-in?{query}" target="_self">{html.escape(texts["frame.sign_in"])}</a>'
    show_empty_state(texts["frame.over"], texts["frame.over.next"], link=link)


def show_server_unavailable(texts: Texts) -> None:
    """The server does not answer."""
    show_empty_state(texts["frame.away"], texts("frame.away.next", server=sessions.current_sessions().config.server))


def show_error(texts: Texts, error: RelevoError) -> None:
    """Shows the message of the server why it has rejected the request."""
    st.html(
        f'<div class="rv-refusal" role="alert"><strong>{html.escape(texts["frame.refused"])}</strong>'
        f"<p>{html.escape(str(error))}</p><small>{html.escape(error.code)}</small></div>"
    )


def show_insecure_warning(session: Session) -> None:
    """Shows the --insecure warning on every page, above its content so that a phone shows it: which protections are missing."""
    missing = ", ".join(session.texts[f"frame.without.{name}"] for name in session.me.get("insecure") or ())
    if missing:
        st.html(f'<p class="rv-insecure" role="status">{html.escape(session.texts("frame.insecure", lacks=missing))}</p>')


def _user_html(session: Session) -> str:
    if not session.signed_in:
        return f'<p class="rv-open">{html.escape(session.texts["frame.open"])}</p>'
    role = _role(session)
    return (
        f'<form class="rv-who" method="post" action="/sign-out" target="_self"><span><b>{html.escape(str(session.me["name"]))}</b>'
        f"<small>{html.escape(role)}</small></span><button>{html.escape(session.texts['frame.sign_out'])}</button></form>"
    )


def _role(session: Session) -> str:
    """The role for all models, else one role per model."""
    texts, grants = session.texts, session.me.get("grants") or {}
    if session.me.get("role") or not grants:
        return texts[f"role.{session.me.get('role') or 'none'}"]
    return ", ".join(f"{texts[f'role.{role}']} ({model})" for model, role in sorted(grants.items()))


def _current_address() -> str:
    """Path and query string of the current page."""
    parts = urlsplit(st.context.url or "")
    query = urlencode(st.query_params.to_dict())
    return f"{parts.path}?{query}" if query else parts.path


def _language_links(texts: Texts) -> str:
    query = html.escape(urlencode({"back": _current_address()}), quote=True)
    links = "".join(
        f'<a href="/language/{code}?{query}" target="_self" lang="{code}"{_CURRENT if code == texts.language else ""}>{title}</a>'
        for code, title in NATIVE.items()
    )
    return f'<nav class="rv-languages" aria-label="{html.escape(texts["frame.language"])}">{links}</nav>'


def _format_code(text: str) -> str:
    """The escaped text as HTML, with `code` between backticks."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


_CURRENT = ' aria-current="true"'
