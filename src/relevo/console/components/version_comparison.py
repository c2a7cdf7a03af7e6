"""Model versions side by side: confusion matrix, calibration, per-label metrics, model card and lineage.

versions ─► GET …/{version}/{metrics,manifest,card,figures} ─► one column per version, and charts of all versions
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import charts
from relevo.console.components import html
from relevo.errors import NotFoundError

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts

#: A confusion matrix with more labels is not drawn.
_MAX_CONFUSION_LABELS = 60
_MAX_LABEL_ROWS = 40
_PIXELS_PER_LABEL = 24
#: Pixels; limited by the width of the column.
_FIGURE_WIDTH = 480
#: An image in Markdown: an untrusted card must not make the browser load one.
_MARKDOWN_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_HEADING = re.compile(r"^(#{1,4}) ", re.MULTILINE)


def version_label(version: int | None) -> str:
    """The name of a version in charts and tables: v3; "–" for None."""
    return "–" if version is None else f"v{version}"


def show(session: Session, versions: list[dict[str, Any]], aliases: dict[str, int]) -> None:
    """One column per version, newest last."""
    versions = sorted(versions, key=lambda version: int(version["version"]))
    documents = [_documents(session, version) for version in versions]
    tabs = st.tabs([session.texts[f"models.tab.{name}"] for name in ("figures", "card", "lineage")])
    with tabs[0]:
        _charts(session, versions, documents, aliases)
    with tabs[1]:
        for column, version, document in zip(st.columns(len(versions), gap="medium"), versions, documents, strict=True):
            with column:
                _heading(version, aliases)
                _card(document["card"], session.texts)
    with tabs[2]:
        for column, version, document in zip(st.columns(len(versions), gap="medium"), versions, documents, strict=True):
            with column:
                _heading(version, aliases)
                html.definition_list(_lineage(version, document["manifest"], session.texts))


def _documents(session: Session, version: dict[str, Any]) -> dict[str, Any]:
    """Metrics, manifest, figure names and card of a version; mostly empty if its package is on another machine."""
    path = _path(version)
    try:
        return {
            "metrics": session.client.request_json("GET", f"{path}/metrics"),
            "manifest": session.client.request_json("GET", f"{path}/manifest"),
            "figures": session.client.request_json("GET", f"{path}/figures")["figures"],
            "card": session.client.download(f"{path}/card")[1].decode(),
        }
    except NotFoundError:
        return {"metrics": version["summary"].get("metrics") or {}, "manifest": {}, "figures": [], "card": ""}


def _path(version: dict[str, Any]) -> str:
    return f"/models/{version['model']}/versions/{version['version']}"


def _heading(version: dict[str, Any], aliases: dict[str, int]) -> None:
    names = sorted(alias for alias, number in aliases.items() if number == version["version"])
    html.line(html.join(html.strong(version_label(version["version"])), html.chips(names, strong=["champion"])))


# --- charts ---------------------------------------------------------------------------------------------------------------


def _charts(session: Session, versions: list[dict[str, Any]], documents: list[dict[str, Any]], aliases: dict[str, int]) -> None:
    texts = session.texts
    metrics = [document["metrics"] for document in documents]
    if not any(metrics):
        html.note(texts["models.unmeasured"])
        return
    for column, version, document in zip(st.columns(len(versions), gap="medium"), versions, documents, strict=True):
        with column:
            _heading(version, aliases)
            _confusion(document, texts)
            _package_figures(session, version, document)
    names = [version_label(version["version"]) for version in versions]
    left, right = st.columns(2, gap="medium")
    with left:
        rows = [row for name, values in zip(names, metrics, strict=True) for row in _calibration(name, values)]
        if rows:
            charts.show(charts.calibration(rows, names, texts), texts, title=texts["models.calibration.plot"], height=340)
    with right:
        rows = [row for name, values in zip(names, metrics, strict=True) for row in _per_label(name, values)]
        if rows:
            height = 90 + _PIXELS_PER_LABEL * len({row["label"] for row in rows})
            charts.show(charts.per_label(rows, names, texts), texts, title=texts["models.per_label.plot"], height=max(340, height))


def _confusion(document: dict[str, Any], texts: Texts) -> None:
    metrics = document["metrics"]
    labels = [row["label"] for row in metrics.get("per_class") or []]
    if not labels:
        html.note(texts["models.unmeasured"]) if not metrics else None
        return
    title = texts("models.confusion.plot", rows=texts.integer(metrics["rows"]))
    if len(labels) <= _MAX_CONFUSION_LABELS:
        charts.show(charts.confusion(metrics["confusion"], labels, texts), texts, title=title, height=340)


def _package_figures(session: Session, version: dict[str, Any], document: dict[str, Any]) -> None:
    """Figures of the package that cannot be drawn from its metrics, such as training curves."""
    for name in document["figures"]:
        if name not in {"confusion.png", "calibration.png"}:
            _, content = session.client.download(f"{_path(version)}/figures/{name}")
            html.plot_title(session.texts.by_key.get(f"models.picture.{name.removesuffix('.png')}", name))
            st.image(content, width=_FIGURE_WIDTH)


def _calibration(version: str, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    table = metrics.get("calibration")
    if not table:
        return []
    # An empty bin ends a run of the line: there is no measurement for it.
    runs = list(accumulate(int(not times) for times in table["count"]))
    return [
        {"version": version, "confidence": confidence, "accuracy": accuracy, "times": times, "run": f"{version}/{run}"}
        for confidence, accuracy, times, run in zip(table["confidence"], table["accuracy"], table["count"], runs, strict=True)
        if times
    ]


def _per_label(version: str, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"version": version, "times": row["rows"], **{key: row[key] for key in ("label", "f1", "precision", "recall")}}
        for row in (metrics.get("per_class") or [])[:_MAX_LABEL_ROWS]
    ]


# --- card and lineage -----------------------------------------------------------------------------------------------------


def _card(card: str, texts: Texts) -> None:
    if not card:
        html.note(texts["models.no_card"])
        return
    st.markdown(sanitize_card(card))


def sanitize_card(card: str) -> str:
    """An untrusted card, made safe for the page: headings two levels lower, no images, no formulas."""
    # The figures of the card are shown separately; any remaining image syntax is escaped.
    safe_card = _MARKDOWN_IMAGE.sub("", card).replace("![", "!\\[").replace("$", "\\$")
    return _HEADING.sub(lambda match: f"{match[1]}## ", safe_card)


def _lineage(version: dict[str, Any], manifest: dict[str, Any], texts: Texts) -> list[tuple[str, str]]:
    lineage = manifest.get("lineage") or {}
    parity = lineage.get("parity") or {}
    precision = lineage.get("precision") or {}
    converter = ", ".join(f"{name} {number}" for name, number in sorted((lineage.get("converter") or {}).items()))
    return [
        (texts["models.made"], texts.moment(version["created"], st.context.timezone)),
        (texts["models.author"], version["author"]),
        (texts["models.framework"], str(lineage.get("framework") or version["summary"].get("framework") or "")),
        (texts["models.converter"], converter),
        (texts["models.proof"], _parity(parity, texts)),
        (texts["models.numbers"], str(precision.get("dtype", ""))),
        (texts["models.quarantine"], str(lineage.get("sandbox", ""))),
        (texts["models.source"], str(lineage.get("source_sha256", ""))),
        (texts["models.training_data"], str(lineage.get("training_data", ""))),
        (texts["models.digest"], version["digest"]),
    ]


def _parity(parity: dict[str, Any], texts: Texts) -> str:
    if parity.get("reference", "none") == "none":
        return texts["models.unproved"]
    return texts(
        "models.proved",
        rows=texts.integer(parity.get("rows", 0)),
        difference=texts.number(parity.get("largest_difference", 0.0), digits=2),
        agreeing=texts.percent(parity.get("labels_agreeing", 1.0)),
    )
