"""What a version takes and answers, in its package's own words.

manifest(session, name, version) ─► signature, decision, lineage: asked for once a visit          labels_of(manifest)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.console.session import Session


def manifest(here: Session, name: str, version: int) -> Mapping[str, Any]:
    """The manifest of one version; empty where it cannot be read. A package never changes, so it is asked for once."""
    kept: dict[tuple[str, int], Mapping[str, Any]] = st.session_state.setdefault("manifests", {})
    if (name, version) not in kept:
        kept[name, version] = here.client.ask("GET", f"/models/{name}/versions/{version}/manifest")
    return kept[name, version]


def labels_of(found: Mapping[str, Any]) -> list[str]:
    """The labels a manifest answers with; none for a regression."""
    return [str(label) for label in found.get("output", {}).get("labels", ())]
