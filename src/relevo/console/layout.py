"""What stands on every page: style, brand, who is signed in, the language, and how failures are told."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import streamlit as st

from relevo.console.assets import look
from relevo.console.auth import sessions
from relevo.console.texts import NATIVE

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts
    from relevo.errors import RelevoError


#: What Streamlit would say in English: the style puts our words in its place.
_SAID_BY_STYLE = {
    "choose-file": "classify.choose",
    "take-photo": "classify.take",
    "clear-photo": "classify.again",
    "allow-camera": "classify.allow",
    "not-taken": "classify.not_taken",
    "skip": "frame.skip",
}


def begin(words: Texts) -> None:
    """First of every run: the tab's title, the width, our style; what Streamlit says itself is said in our words."""
    st.set_page_config(page_title="Relevo", page_icon=look("mark.svg"), layout="wide", initial_sidebar_state="auto")
    said = "".join(f"--{name}: '{words[key]}'; " for name, key in _SAID_BY_STYLE.items())
    st.html(f"<style>{look('console.css')}\n:root {{ {said}}}</style>")


def sidebar(here: Session) -> None:
    """Brand, who is signed in and the way out, the languages."""
    st.logo(look("brand.svg"), size="large", icon_image=look("brand.svg"))
    with st.sidebar:
        st.html(_who(here) + _languages(here.words))


def heading(title: str, lead: str = "") -> None:
    """The title of a page, and one sentence under it."""
    under = f"<p>{html.escape(lead)}</p>" if lead else ""
    st.html(f'<header class="rv-head"><h1>{html.escape(title)}</h1>{under}</header>')


def small(text: str) -> None:
    """A remark in small print."""
    st.html(f'<p class="rv-small">{safe(text)}</p>')


def safe(text: str) -> str:
    """Any text, to stand in our HTML."""
    return html.escape(text)


def say(title: str, what_next: str, *, act: str = "") -> None:
    """An empty page: what is the matter, and what to do next. act: HTML of ours below it."""
    st.html(empty(title, what_next, act=act))


def empty(title: str, what_next: str, *, act: str = "") -> str:
    """The same as HTML."""
    return f'<div class="rv-empty"><div class="rv-lanes"></div><h2>{safe(title)}</h2><p>{_marked(what_next)}</p>{act}</div>'


def say_over(words: Texts) -> None:
    """The server has forgotten that this visitor signed in."""
    back = urlencode({"next": _address_here()})
    link = f'<a class="rv-act" href="/sign-in?{back}" target="_self">{html.escape(words["frame.sign_in"])}</a>'
    say(words["frame.over"], words["frame.over.next"], act=link)


def say_away(words: Texts) -> None:
    """Nobody answers."""
    say(words["frame.away"], words("frame.away.next", server=sessions.here().told.server))


def say_refused(words: Texts, error: RelevoError) -> None:
    """What the server said no to, in its own words."""
    st.html(
        f'<div class="rv-refusal" role="alert"><strong>{html.escape(words["frame.refused"])}</strong>'
        f"<p>{html.escape(str(error))}</p><small>{html.escape(error.code)}</small></div>"
    )


def warn(here: Session) -> None:
    """Above every page, where a telephone shows it, too: what the server is served without although others can reach it."""
    lacks = ", ".join(here.words[f"frame.without.{one}"] for one in here.me.get("insecure") or ())
    if lacks:
        st.html(f'<p class="rv-insecure" role="status">{html.escape(here.words("frame.insecure", lacks=lacks))}</p>')


def _who(here: Session) -> str:
    if not here.signed_in:
        return f'<p class="rv-open">{html.escape(here.words["frame.open"])}</p>'
    role = _role(here)
    return (
        f'<form class="rv-who" method="post" action="/sign-out" target="_self"><span><b>{html.escape(str(here.me["name"]))}</b>'
        f"<small>{html.escape(role)}</small></span><button>{html.escape(here.words['frame.sign_out'])}</button></form>"
    )


def _role(here: Session) -> str:
    """What they are everywhere, else model by model."""
    words, grants = here.words, here.me.get("grants") or {}
    if here.me.get("role") or not grants:
        return words[f"role.{here.me.get('role') or 'none'}"]
    return ", ".join(f"{words[f'role.{role}']} ({model})" for model, role in sorted(grants.items()))


def _address_here() -> str:
    """The page shown and what it was asked, to come back to."""
    parts = urlsplit(st.context.url or "")
    query = urlencode(st.query_params.to_dict())
    return f"{parts.path}?{query}" if query else parts.path


def _languages(words: Texts) -> str:
    back = html.escape(urlencode({"back": _address_here()}), quote=True)
    links = "".join(
        f'<a href="/language/{code}?{back}" target="_self" lang="{code}"{_CURRENT if code == words.language else ""}>{title}</a>'
        for code, title in NATIVE.items()
    )
    return f'<nav class="rv-languages" aria-label="{html.escape(words["frame.language"])}">{links}</nav>'


def _marked(text: str) -> str:
    """A text of ours with `code` in it."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


_CURRENT = ' aria-current="true"'
