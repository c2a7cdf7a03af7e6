"""Manifests of model versions: signature, decision rule and lineage; cached for each browser session.

load(session, name, version) ─► manifest ─► labels(manifest)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.console.session import Session


def load(session: Session, name: str, version: int) -> Mapping[str, Any]:
    """The manifest of one version; empty when it cannot be read. Cached, because a package never changes."""
    cache: dict[tuple[str, int], Mapping[str, Any]] = st.session_state.setdefault("manifests", {})
    if (name, version) not in cache:
        cache[name, version] = session.client.request_json("GET", f"/models/{name}/versions/{version}/manifest")
    return cache[name, version]


def labels(manifest: Mapping[str, Any]) -> list[str]:
    """The labels of a classifier; empty for a regression."""
    return [str(label) for label in manifest.get("output", {}).get("labels", ())]
