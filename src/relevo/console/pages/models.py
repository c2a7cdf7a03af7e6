"""The models page: the versions of a model with their test metrics, a comparison of versions, and a form to move aliases.

GET /models/{name} ─► versions, newest first ─┬► table, accuracy with its confidence interval
                                              ├► selected ─► version_comparison: confusion, calibration, labels, card, lineage
                                              └► alias_form: moves an alias, with a reason
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import charts, layout
from relevo.console.components import alias_form, html, version_comparison
from relevo.console.components.model_picker import pick_model
from relevo.console.components.version_comparison import version_label
from relevo.i18n import formatting

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts

#: Versions shown at first; a toggle shows the older ones.
_MAX_SHOWN = 12
_DEFAULT_COMPARED = 2
_MAX_COMPARED = 3
#: Decimal places of numeric columns.
_DECIMALS = 3


def show(session: Session) -> None:
    """Draws the page."""
    texts = session.texts
    html.load_style()
    layout.heading(texts["page.models"], texts["models.lead"])
    name = pick_model(session)
    if name is None:
        return
    model = session.client.request_json("GET", f"/models/{name}")
    versions, aliases = model["history"], model["aliases"]
    _status(model, texts)
    _versions(versions, aliases, texts)
    selected = _select_versions(versions, aliases, texts)
    if selected:
        version_comparison.show(session, [version for version in versions if version["version"] in selected], aliases)
    alias_form.show(session, model)


def _status(model: dict[str, Any], texts: Texts) -> None:
    """The aliases, and whether the model is being served."""
    aliases = [f"{alias} → {version_label(version)}" for alias, version in sorted(model["aliases"].items(), key=_champion_first)]
    state = texts("models.answers", version=version_label(model["serving"])) if model["ready"] else texts["models.silent"]
    description = str(model["history"][0]["summary"].get("description") or "")
    html.line(html.join(html.chips(aliases, strong=aliases[:1]), html.muted(state)))
    if description:
        html.note(description)


def _champion_first(pair: tuple[str, int]) -> tuple[bool, str]:
    return (pair[0] != "champion", pair[0])


def _versions(versions: list[dict[str, Any]], aliases: dict[str, int], texts: Texts) -> None:
    html.section(texts["models.versions"], texts("models.versions.lead", count=texts.integer(len(versions))))
    shown = versions[:_MAX_SHOWN]
    if len(versions) > _MAX_SHOWN and st.toggle(texts("models.older", count=texts.integer(len(versions) - _MAX_SHOWN))):
        shown = versions
    rows = _intervals(shown, aliases)
    _table(shown, aliases, texts)
    if len(rows) > 1:
        title = texts["models.accuracy.plot"]
        charts.show(charts.intervals(rows, texts, axis=texts["models.accuracy"]), texts, title=title, height=50 + 32 * len(rows))


def _intervals(versions: list[dict[str, Any]], aliases: dict[str, int]) -> list[dict[str, Any]]:
    rows = []
    for version in versions:
        accuracy = (version["summary"].get("metrics") or {}).get("accuracy")
        if accuracy and accuracy["value"] is not None:
            marked = version["version"] == aliases.get("champion")
            rows.append({"version": version_label(version["version"]), "order": version["version"], "marked": marked, **accuracy})
    return rows


def _table(versions: list[dict[str, Any]], aliases: dict[str, int], texts: Texts) -> None:
    regression = versions[0]["summary"].get("task") == "regression"
    columns = ("mae", "rmse", "r2") if regression else ("accuracy", "macro_f1", "log_loss", "expected_error")
    html.table(
        [texts["models.version"], *(texts[f"models.{name}"] for name in columns), texts["models.made"]],
        [
            [
                _version_cell(version["version"], aliases),
                *(_metric(version["summary"].get("metrics") or {}, name, texts) for name in columns),
                html.join(texts.day(version["created"], st.context.timezone), html.muted(version["author"])),
            ]
            for version in versions
        ],
        figures=range(1, len(columns) + 1),
    )


def _version_cell(version: int, aliases: dict[str, int]) -> html.Markup:
    names = sorted(alias for alias, number in aliases.items() if number == version)
    return html.join(version_label(version), html.chips(names, strong=["champion"]))


def _metric(metrics: dict[str, Any], name: str, texts: Texts) -> str | html.Markup:
    if name == "accuracy":
        accuracy = metrics.get("accuracy") or {}
        if accuracy.get("value") is None:
            return "–"
        interval = f"{texts.percent(accuracy['low'])} – {texts.percent(accuracy['high'])}"
        return html.join(texts.percent(accuracy["value"]), html.muted(interval))
    if name == "expected_error":
        return _format((metrics.get("calibration") or {}).get(name), texts)
    return _format(metrics.get(name), texts)


def _format(value: float | None, texts: Texts) -> str:
    return "–" if value is None else formatting.fixed(value, texts.language, places=_DECIMALS)


def _select_versions(versions: list[dict[str, Any]], aliases: dict[str, int], texts: Texts) -> list[int]:
    """The versions to compare; by default those with an alias, then the newest."""
    numbers = [version["version"] for version in versions]
    lead = texts("models.beside.lead", most=_MAX_COMPARED) if len(numbers) > 1 else ""
    html.section(texts["models.beside"], lead)
    aliased = [version for _, version in sorted(aliases.items(), key=_champion_first)]
    default = list(dict.fromkeys([*(number for number in aliased if number in numbers), *numbers]))[:_DEFAULT_COMPARED]
    if len(numbers) == 1:
        return numbers
    if len(numbers) <= _MAX_SHOWN:
        selected = st.pills(
            texts["models.beside"],
            numbers,
            selection_mode="multi",
            default=default,
            format_func=version_label,
            label_visibility="collapsed",
            key=f"beside-{versions[0]['model']}",
        )
    else:
        selected = st.multiselect(
            texts["models.beside"],
            numbers,
            default=default,
            format_func=version_label,
            max_selections=_MAX_COMPARED,
            label_visibility="collapsed",
            key=f"beside-{versions[0]['model']}",
        )
    if not selected:
        html.note(texts["models.beside.none"])
    return sorted(selected)[-_MAX_COMPARED:]
