"""What narrows the history: a row of choices that becomes the words of GET /predictions. The database does the narrowing.

ask(session, model) ─► {"model": "mnist", "since": "2026-01-31T…Z", "uncertain": "true"}
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import manifests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.console.session import Session
    from relevo.console.texts import Texts

_SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}
#: Five stand in a row beside the sidebar of a small desktop, two on a telephone.
_WIDTH = 146
#: Begin of the choice "labelled as this one".
_TRUTH = "="


def ask(here: Session, model: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, str]:
    """Draw the choices and give what they say; each starts with everything."""
    words, labels = here.words, manifests.labels_of(manifest)
    wanted = {"model": str(model["name"])}
    with st.container(horizontal=True, gap="small", key="filters"):
        wanted |= _said("since", _span(words))
        if int(model["versions"]) > 1:
            wanted |= _said("version", _one(words, "history.version", [str(one) for one in range(int(model["versions"]), 0, -1)]))
        if labels:
            wanted |= _said("label", _one(words, "history.answer", labels))
            wanted |= _said("uncertain", _sure(words))
        wanted |= _labelled(words, labels)
    return wanted


def _said(name: str, value: str | None) -> dict[str, str]:
    return {} if value is None else {name: value}


def _one(words: Texts, title: str, options: list[str], shown: Mapping[str, str] | None = None) -> str | None:
    """One choice, empty for any."""
    return st.selectbox(
        words[title],
        options,
        index=None,
        placeholder=words["history.any"],
        format_func=lambda one: (shown or {}).get(one, one),
        width=_WIDTH,
        key=f"filter-{title}",
    )


def _span(words: Texts) -> str | None:
    named = {name: words[f"history.{name}"] for name in _SPANS}
    chosen = _one(words, "history.span", list(_SPANS), named)
    if chosen is None:
        st.session_state.pop("since", None)
        return None
    # The moment is taken once, when it was chosen: else each page would begin somewhere else.
    kept: tuple[str, str] = st.session_state.get("since") or ("", "")
    if kept[0] != chosen:
        kept = (chosen, (datetime.now(UTC) - _SPANS[chosen]).isoformat(timespec="seconds"))
        st.session_state["since"] = kept
    return kept[1]


def _sure(words: Texts) -> str | None:
    return _one(words, "history.sure", ["true", "false"], {"true": words["history.uncertain"], "false": words["history.certain"]})


def _labelled(words: Texts, labels: list[str]) -> dict[str, str]:
    named = {"true": words["history.with"], "false": words["history.without"]}
    chosen = _one(
        words,
        "history.labelled",
        [*named, *(_TRUTH + label for label in labels)],
        named | {_TRUTH + one: f"= {one}" for one in labels},
    )
    if chosen is None:
        return {}
    return {"truth": chosen.removeprefix(_TRUTH)} if chosen.startswith(_TRUTH) else {"labelled": chosen}
