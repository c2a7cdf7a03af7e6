"""Small pieces of page made of HTML: tiles of figures, tables, chips, lists of facts. All text is escaped here.

A table of these is short by design: what may be long is paged in the database before it comes here.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from relevo.console.assets import look

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Markup:
    """A bit of HTML of ours, its texts escaped already."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure, and what it is of."""

    title: str
    value: str
    under: str = ""
    bad: bool = False


def begin() -> None:
    """Before the first piece of a run: their style."""
    st.html(f"<style>{look('components.css')}</style>")


def tiles(some: Iterable[Tile]) -> None:
    """Figures in a row that wraps."""
    inside = "".join(
        f'<div class="relevo-tile{" bad" if one.bad else ""}"><dt>{_e(one.title)}</dt><dd>{_e(one.value)}'
        f"{f'<small>{_e(one.under)}</small>' if one.under else ''}</dd></div>"
        for one in some
    )
    st.html(f'<dl class="relevo-tiles">{inside}</dl>')


def table(head: Sequence[str], rows: Iterable[Sequence[str | Markup]], *, figures: Iterable[int] = ()) -> None:
    """A table that scrolls sideways where it must. figures: columns that hold numbers, set to the right."""
    right = set(figures)
    titles = "".join(f'<th scope="col"{_right(at in right)}>{_e(title)}</th>' for at, title in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{_right(at in right)}>{_inside(cell)}</td>" for at, cell in enumerate(row)) + "</tr>" for row in rows
    )
    st.html(f'<div class="relevo-table" tabindex="0"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>')


def facts(some: Iterable[tuple[str, str]]) -> None:
    """What is so: a name and a value each; those without a value are left out."""
    inside = "".join(f"<div><dt>{_e(name)}</dt><dd>{_e(value)}</dd></div>" for name, value in some if value)
    st.html(f'<dl class="relevo-facts">{inside}</dl>')


def section(title: str, lead: str = "") -> None:
    """A heading inside a page, and a sentence under it."""
    st.html(f'<h2 class="relevo-section">{_e(title)}</h2>' + (f'<p class="relevo-lead">{_e(lead)}</p>' if lead else ""))


def note(text: str) -> None:
    """A sentence aside."""
    st.html(f'<p class="relevo-lead">{_e(text)}</p>')


def chips(some: Iterable[str], *, strong: Iterable[str] = ()) -> Markup:
    """Short words, each in its frame; the strong ones filled."""
    filled = set(strong)
    return Markup(text="".join(f'<span class="relevo-chip{" strong" if one in filled else ""}">{_e(one)}</span>' for one in some))


def joined(*parts: str | Markup) -> Markup:
    """Several parts in one cell."""
    return Markup(text=" ".join(map(_inside, parts)))


def strong(text: str) -> Markup:
    """A text that names what stands below it."""
    return Markup(text=f'<strong class="relevo-name">{_e(text)}</strong>')


def plot_title(text: str) -> None:
    """What stands above a plot or picture."""
    st.html(f'<h3 class="relevo-plot">{_e(text)}</h3>')


def soft(text: str) -> Markup:
    """A lesser text."""
    return Markup(text=f'<span class="relevo-soft">{_e(text)}</span>')


def code(text: str) -> Markup:
    """A text as machines write it."""
    return Markup(text=f"<code>{_e(text)}</code>")


def line(markup: Markup) -> None:
    """One line of pieces."""
    st.html(f'<div class="relevo-line">{markup.text}</div>')


def _inside(cell: str | Markup) -> str:
    return cell.text if isinstance(cell, Markup) else _e(cell)


def _right(it_is: bool) -> str:  # noqa: FBT001 - a yes or no
    return ' class="figure"' if it_is else ""


def _e(text: str) -> str:
    return html.escape(text)
