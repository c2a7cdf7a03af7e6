"""Filter widgets of the history; their values become query parameters of GET /predictions, and the database filters.

show(session, model, manifest) ─► {"model": "mnist", "since": "2026-01-31T…Z", "uncertain": "true"}
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
#: Pixels: five fit in a row next to the sidebar of a small desktop, two on a phone.
_WIDTH = 146
#: Prefix of the options "labelled as this value".
_LABEL_PREFIX = "="


def show(session: Session, model: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, str]:
    """Draws the filters and returns the query parameters; every filter starts empty."""
    texts, labels = session.texts, manifests.labels(manifest)
    parameters = {"model": str(model["name"])}
    with st.container(horizontal=True, gap="small", key="filters"):
        parameters |= _parameter("since", _since(texts))
        if int(model["versions"]) > 1:
            versions = [str(version) for version in range(int(model["versions"]), 0, -1)]
            parameters |= _parameter("version", _select(texts, "history.version", versions))
        if labels:
            parameters |= _parameter("prediction", _select(texts, "history.answer", labels))
            parameters |= _parameter("uncertain", _uncertain(texts))
        parameters |= _label_parameter(texts, labels)
    return parameters


def _parameter(name: str, value: str | None) -> dict[str, str]:
    return {} if value is None else {name: value}


def _select(texts: Texts, title: str, options: list[str], display: Mapping[str, str] | None = None) -> str | None:
    """One select box; empty means no filter. display: the text shown for an option."""
    return st.selectbox(
        texts[title],
        options,
        index=None,
        placeholder=texts["history.any"],
        format_func=lambda option: (display or {}).get(option, option),
        width=_WIDTH,
        key=f"filter-{title}",
    )


def _since(texts: Texts) -> str | None:
    display = {name: texts[f"history.{name}"] for name in _SPANS}
    selected = _select(texts, "history.span", list(_SPANS), display)
    if selected is None:
        st.session_state.pop("since", None)
        return None
    # The start time is fixed when the span is selected; otherwise every page of results would have another one.
    stored: tuple[str, str] = st.session_state.get("since") or ("", "")
    if stored[0] != selected:
        stored = (selected, (datetime.now(UTC) - _SPANS[selected]).isoformat(timespec="seconds"))
        st.session_state["since"] = stored
    return stored[1]


def _uncertain(texts: Texts) -> str | None:
    display = {"true": texts["history.uncertain"], "false": texts["history.certain"]}
    return _select(texts, "history.sure", ["true", "false"], display)


def _label_parameter(texts: Texts, labels: list[str]) -> dict[str, str]:
    labelled = {"true": texts["history.with"], "false": texts["history.without"]}
    values = {_LABEL_PREFIX + label: f"= {label}" for label in labels}
    selected = _select(texts, "history.labelled", [*labelled, *values], labelled | values)
    if selected is None:
        return {}
    if selected.startswith(_LABEL_PREFIX):
        return {"truth": selected.removeprefix(_LABEL_PREFIX)}
    return {"labelled": selected}
