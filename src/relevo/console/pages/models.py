"""A model's versions, side by side: how good each was on rows it had not seen, where the aliases stand, and moving one.

GET /models/{name} ─► versions, newest first ─┬► table, accuracy with its interval
                                              ├► those chosen ─► compared.py: confusion, calibration, labels, card, lineage
                                              └► moving.py: an alias, with a reason
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import charts, layout
from relevo.console.components import alias_form, html, version_comparison
from relevo.console.components.model_picker import model_chosen
from relevo.console.components.version_comparison import called
from relevo.i18n import formatting

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts

#: Versions told at once; the older ones are a click away.
_NEWEST = 12
_BESIDE = 2
_MOST_BESIDE = 3
#: Decimal places of a column of figures.
_PLACES = 3


def show(here: Session) -> None:
    """The page."""
    words = here.words
    html.begin()
    layout.heading(words["page.models"], words["models.lead"])
    name = model_chosen(here)
    if name is None:
        return
    model = here.client.ask("GET", f"/models/{name}")
    versions, aliases = model["history"], model["aliases"]
    _standing(model, words)
    _told(versions, aliases, words)
    chosen = _chosen(versions, aliases, words)
    if chosen:
        version_comparison.show(here, [one for one in versions if one["version"] in chosen], aliases)
    alias_form.show(here, model)


def _standing(model: dict[str, Any], words: Texts) -> None:
    """Where the aliases stand, and whether the model answers."""
    aliases = [f"{alias} → {called(version)}" for alias, version in sorted(model["aliases"].items(), key=_champion_first)]
    state = words("models.answers", version=called(model["serving"])) if model["ready"] else words["models.silent"]
    description = str(model["history"][0]["summary"].get("description") or "")
    html.line(html.joined(html.chips(aliases, strong=aliases[:1]), html.soft(state)))
    if description:
        html.note(description)


def _champion_first(pair: tuple[str, int]) -> tuple[bool, str]:
    return (pair[0] != "champion", pair[0])


def _told(versions: list[dict[str, Any]], aliases: dict[str, int], words: Texts) -> None:
    html.section(words["models.versions"], words("models.versions.lead", count=words.whole(len(versions))))
    shown = versions[:_NEWEST]
    if len(versions) > _NEWEST and st.toggle(words("models.older", count=words.whole(len(versions) - _NEWEST))):
        shown = versions
    rows = _intervals(shown, aliases)
    _table(shown, aliases, words)
    if len(rows) > 1:
        title = words["models.accuracy.plot"]
        charts.show(charts.intervals(rows, words, axis=words["models.accuracy"]), words, title=title, height=50 + 32 * len(rows))


def _intervals(versions: list[dict[str, Any]], aliases: dict[str, int]) -> list[dict[str, Any]]:
    rows = []
    for one in versions:
        accuracy = (one["summary"].get("metrics") or {}).get("accuracy")
        if accuracy and accuracy["value"] is not None:
            marked = one["version"] == aliases.get("champion")
            rows.append({"version": called(one["version"]), "order": one["version"], "marked": marked, **accuracy})
    return rows


def _table(versions: list[dict[str, Any]], aliases: dict[str, int], words: Texts) -> None:
    regression = versions[0]["summary"].get("task") == "regression"
    told = ("mae", "rmse", "r2") if regression else ("accuracy", "macro_f1", "log_loss", "expected_error")
    html.table(
        [words["models.version"], *(words[f"models.{figure}"] for figure in told), words["models.made"]],
        [
            [
                _version_cell(one["version"], aliases),
                *(_figure(one["summary"].get("metrics") or {}, figure, words) for figure in told),
                html.joined(words.day(one["created"], st.context.timezone), html.soft(one["author"])),
            ]
            for one in versions
        ],
        figures=range(1, len(told) + 1),
    )


def _version_cell(version: int, aliases: dict[str, int]) -> html.Markup:
    here = sorted(alias for alias, at in aliases.items() if at == version)
    return html.joined(called(version), html.chips(here, strong=["champion"]))


def _figure(metrics: dict[str, Any], name: str, words: Texts) -> str | html.Markup:
    if name == "accuracy":
        found = metrics.get("accuracy") or {}
        if found.get("value") is None:
            return "–"
        interval = f"{words.percent(found['low'])} – {words.percent(found['high'])}"
        return html.joined(words.percent(found["value"]), html.soft(interval))
    if name == "expected_error":
        return _fixed((metrics.get("calibration") or {}).get(name), words)
    return _fixed(metrics.get(name), words)


def _fixed(value: float | None, words: Texts) -> str:
    return "–" if value is None else formatting.fixed(value, words.language, places=_PLACES)


def _chosen(versions: list[dict[str, Any]], aliases: dict[str, int], words: Texts) -> list[int]:
    """The versions to look at side by side: those with an alias first, then the newest."""
    numbers = [one["version"] for one in versions]
    lead = words("models.beside.lead", most=_MOST_BESIDE) if len(numbers) > 1 else ""
    html.section(words["models.beside"], lead)
    aliased = [version for _, version in sorted(aliases.items(), key=_champion_first)]
    first = list(dict.fromkeys([*(one for one in aliased if one in numbers), *numbers]))[:_BESIDE]
    if len(numbers) == 1:
        return numbers
    if len(numbers) <= _NEWEST:
        picked = st.pills(
            words["models.beside"],
            numbers,
            selection_mode="multi",
            default=first,
            format_func=called,
            label_visibility="collapsed",
            key=f"beside-{versions[0]['model']}",
        )
    else:
        picked = st.multiselect(
            words["models.beside"],
            numbers,
            default=first,
            format_func=called,
            max_selections=_MOST_BESIDE,
            label_visibility="collapsed",
            key=f"beside-{versions[0]['model']}",
        )
    if not picked:
        html.note(words["models.beside.none"])
    return sorted(picked)[-_MOST_BESIDE:]
