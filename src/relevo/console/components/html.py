"""HTML building blocks of the console: metric tiles, tables, chips, definition lists. They escape all text.

Tables are short by design: long lists are paginated by the database.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from relevo.console.assets import read_asset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Markup:
    """Trusted HTML, with its text already escaped."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure with its title."""

    title: str
    value: str
    under: str = ""
    bad: bool = False


def load_style() -> None:
    """Loads the style sheet of this module; call it before the first building block of a page."""
    st.html(f"<style>{read_asset('components.css')}</style>")


def tiles(items: Iterable[Tile]) -> None:
    """A row of tiles that wraps."""
    content = "".join(
        f'<div class="relevo-tile{" bad" if tile.bad else ""}"><dt>{_escape(tile.title)}</dt><dd>{_escape(tile.value)}'
        f"{f'<small>{_escape(tile.under)}</small>' if tile.under else ''}</dd></div>"
        for tile in items
    )
    st.html(f'<dl class="relevo-tiles">{content}</dl>')


def table(head: Sequence[str], rows: Iterable[Sequence[str | Markup]], *, figures: Iterable[int] = ()) -> None:
    """A table that scrolls sideways if needed. figures: indexes of numeric columns, which are aligned right."""
    numeric = set(figures)
    titles = "".join(f'<th scope="col"{_align(index in numeric)}>{_escape(title)}</th>' for index, title in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{_align(index in numeric)}>{_to_html(cell)}</td>" for index, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    st.html(f'<div class="relevo-table" tabindex="0"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>')


def definition_list(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values; pairs with an empty value are left out."""
    content = "".join(f"<div><dt>{_escape(name)}</dt><dd>{_escape(value)}</dd></div>" for name, value in pairs if value)
    st.html(f'<dl class="relevo-facts">{content}</dl>')


def section(title: str, lead: str = "") -> None:
    """A section heading, with an optional sentence under it."""
    st.html(f'<h2 class="relevo-section">{_escape(title)}</h2>' + (f'<p class="relevo-lead">{_escape(lead)}</p>' if lead else ""))


def note(text: str) -> None:
    """A sentence in muted type."""
    st.html(f'<p class="relevo-lead">{_escape(text)}</p>')


def chips(labels: Iterable[str], *, strong: Iterable[str] = ()) -> Markup:
    """Short labels in frames. strong: those with a filled frame."""
    filled = set(strong)
    return Markup(
        text="".join(f'<span class="relevo-chip{" strong" if label in filled else ""}">{_escape(label)}</span>' for label in labels)
    )


def join(*parts: str | Markup) -> Markup:
    """Several parts in one cell, separated by blanks."""
    return Markup(text=" ".join(map(_to_html, parts)))


def strong(text: str) -> Markup:
    """The name of what follows, in bold type."""
    return Markup(text=f'<strong class="relevo-name">{_escape(text)}</strong>')


def plot_title(text: str) -> None:
    """The title above a chart or picture."""
    st.html(f'<h3 class="relevo-plot">{_escape(text)}</h3>')


def muted(text: str) -> Markup:
    """A secondary text."""
    return Markup(text=f'<span class="relevo-soft">{_escape(text)}</span>')


def code(text: str) -> Markup:
    """A text in monospaced type."""
    return Markup(text=f"<code>{_escape(text)}</code>")


def line(markup: Markup) -> None:
    """Markup on a line of its own."""
    st.html(f'<div class="relevo-line">{markup.text}</div>')


def _to_html(cell: str | Markup) -> str:
    return cell.text if isinstance(cell, Markup) else _escape(cell)


def _align(is_numeric: bool) -> str:  # noqa: FBT001 - a yes or no
    return ' class="figure"' if is_numeric else ""


def _escape(text: str) -> str:
    return html.escape(text)
