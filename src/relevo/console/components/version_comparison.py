"""Some versions side by side: what each confuses, how honest it is, how it does on every label, its card and where it came from.

versions ─► GET …/{version}/{metrics,manifest,card,figures} ─► a column each, and plots that lay them over each other
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

#: More labels than this leave no room in a plot.
_MOST_LABELS = 60
_LABELS_TOLD = 40
_PIXELS_A_LABEL = 24
#: Pixels; as wide as its column where that is narrower.
_PICTURE_WIDE = 480
#: What draws a picture in Markdown; a stranger's card must not make the browser fetch one.
_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_HEADING = re.compile(r"^(#{1,4}) ", re.MULTILINE)


def called(version: int | None) -> str:
    """How a version is named in figures and tables: v3."""
    return "–" if version is None else f"v{version}"


def show(here: Session, versions: list[dict[str, Any]], aliases: dict[str, int]) -> None:
    """One column a version, newest last."""
    some = sorted(versions, key=lambda one: int(one["version"]))
    papers = [_papers(here, one) for one in some]
    tabs = st.tabs([here.words[f"models.tab.{name}"] for name in ("figures", "card", "lineage")])
    with tabs[0]:
        _figures(here, some, papers, aliases)
    with tabs[1]:
        for column, one, told in zip(st.columns(len(some), gap="medium"), some, papers, strict=True):
            with column:
                _name(one, aliases)
                _card(told["card"], here.words)
    with tabs[2]:
        for column, one, told in zip(st.columns(len(some), gap="medium"), some, papers, strict=True):
            with column:
                _name(one, aliases)
                html.facts(_lineage(one, told["manifest"], here.words))


def _papers(here: Session, version: dict[str, Any]) -> dict[str, Any]:
    """What there is to read of one version; a package that lies on another machine has nothing."""
    path = _path(version)
    try:
        return {
            "metrics": here.client.ask("GET", f"{path}/metrics"),
            "manifest": here.client.ask("GET", f"{path}/manifest"),
            "figures": here.client.ask("GET", f"{path}/figures")["figures"],
            "card": here.client.file(f"{path}/card")[1].decode(),
        }
    except NotFoundError:
        return {"metrics": version["summary"].get("metrics") or {}, "manifest": {}, "figures": [], "card": ""}


def _path(version: dict[str, Any]) -> str:
    return f"/models/{version['model']}/versions/{version['version']}"


def _name(version: dict[str, Any], aliases: dict[str, int]) -> None:
    here = sorted(alias for alias, at in aliases.items() if at == version["version"])
    html.line(html.joined(html.strong(called(version["version"])), html.chips(here, strong=["champion"])))


# --- figures --------------------------------------------------------------------------------------------------------------


def _figures(here: Session, some: list[dict[str, Any]], papers: list[dict[str, Any]], aliases: dict[str, int]) -> None:
    words = here.words
    measured = [told["metrics"] for told in papers]
    if not any(measured):
        html.note(words["models.unmeasured"])
        return
    for column, one, told in zip(st.columns(len(some), gap="medium"), some, papers, strict=True):
        with column:
            _name(one, aliases)
            _confusion(told, words)
            _pictures(here, one, told)
    versions = [called(one["version"]) for one in some]
    left, right = st.columns(2, gap="medium")
    with left:
        rows = [row for name, metrics in zip(versions, measured, strict=True) for row in _calibration(name, metrics)]
        if rows:
            charts.show(charts.calibration(rows, versions, words), words, title=words["models.calibration.plot"], height=340)
    with right:
        rows = [row for name, metrics in zip(versions, measured, strict=True) for row in _per_label(name, metrics)]
        if rows:
            height = 90 + _PIXELS_A_LABEL * len({row["label"] for row in rows})
            charts.show(
                charts.per_label(rows, versions, words), words, title=words["models.per_label.plot"], height=max(340, height)
            )


def _confusion(told: dict[str, Any], words: Texts) -> None:
    metrics = told["metrics"]
    labels = [one["label"] for one in metrics.get("per_class") or []]
    if not labels:
        html.note(words["models.unmeasured"]) if not metrics else None
        return
    title = words("models.confusion.plot", rows=words.whole(metrics["rows"]))
    if len(labels) <= _MOST_LABELS:
        charts.show(charts.confusion(metrics["confusion"], labels, words), words, title=title, height=340)


def _pictures(here: Session, version: dict[str, Any], told: dict[str, Any]) -> None:
    """What the package itself drew and we cannot draw from its figures: its curves."""
    for name in told["figures"]:
        if name not in {"confusion.png", "calibration.png"}:
            _, content = here.client.file(f"{_path(version)}/figures/{name}")
            html.plot_title(here.words.texts.get(f"models.picture.{name.removesuffix('.png')}", name))
            st.image(content, width=_PICTURE_WIDE)


def _calibration(version: str, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    table = metrics.get("calibration")
    if not table:
        return []
    # An empty bin ends a run: nobody measured what lies there.
    empty = list(accumulate(int(not times) for times in table["count"]))
    return [
        {"version": version, "confidence": confidence, "accuracy": accuracy, "times": times, "run": f"{version}/{run}"}
        for confidence, accuracy, times, run in zip(table["confidence"], table["accuracy"], table["count"], empty, strict=True)
        if times
    ]


def _per_label(version: str, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"version": version, "times": one["rows"], **{key: one[key] for key in ("label", "f1", "precision", "recall")}}
        for one in (metrics.get("per_class") or [])[:_LABELS_TOLD]
    ]


# --- card and lineage -----------------------------------------------------------------------------------------------------


def _card(card: str, words: Texts) -> None:
    if not card:
        html.note(words["models.no_card"])
        return
    st.markdown(harmless(card))


def harmless(card: str) -> str:
    """A card as the page shows it: two headings lower, and nothing in it makes a browser fetch a picture or begins a formula."""
    # Its own figures are drawn beside it; what is left of a picture's sign is shown as text.
    plain = _PICTURE.sub("", card).replace("![", "!\\[").replace("$", "\\$")
    return _HEADING.sub(lambda found: f"{found[1]}## ", plain)


def _lineage(version: dict[str, Any], manifest: dict[str, Any], words: Texts) -> list[tuple[str, str]]:
    lineage = manifest.get("lineage") or {}
    parity = lineage.get("parity") or {}
    precision = lineage.get("precision") or {}
    converter = ", ".join(f"{name} {number}" for name, number in sorted((lineage.get("converter") or {}).items()))
    return [
        (words["models.made"], words.moment(version["created"], st.context.timezone)),
        (words["models.author"], version["author"]),
        (words["models.framework"], str(lineage.get("framework") or version["summary"].get("framework") or "")),
        (words["models.converter"], converter),
        (words["models.proof"], _proof(parity, words)),
        (words["models.numbers"], str(precision.get("numbers", ""))),
        (words["models.quarantine"], str(lineage.get("quarantine", ""))),
        (words["models.source"], str(lineage.get("source_sha256", ""))),
        (words["models.training_data"], str(lineage.get("training_data", ""))),
        (words["models.digest"], version["digest"]),
    ]


def _proof(parity: dict[str, Any], words: Texts) -> str:
    if parity.get("against", "none") == "none":
        return words["models.unproved"]
    return words(
        "models.proved",
        rows=words.whole(parity.get("rows", 0)),
        difference=words.number(parity.get("largest_difference", 0.0), digits=2),
        agreeing=words.percent(parity.get("labels_agreeing", 1.0)),
    )
