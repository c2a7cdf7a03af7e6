"""A record's signature as a form of Streamlit's widgets, and the form as a record.

manifest["input"]["fields"] ─► one widget each ─► {"tenure": 41, "contract": "one_year"}      what is left empty is left out
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console.markdown import escape_markdown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relevo.console.texts import Texts

_COLUMNS = 2
_YES_NO = (True, False)


def ask(fields: Sequence[Mapping[str, Any]], words: Texts, *, model: str) -> dict[str, Any] | None:
    """Draw the form; gives the record when it was sent, else None. Fields start with their examples."""
    with st.form(f"record-{model}", border=False):
        columns = st.columns(_COLUMNS)
        record = {}
        for at, field in enumerate(fields):
            with columns[at % _COLUMNS]:
                value = _widget(field, words, key=f"field-{model}-{field['name']}")
            if value is not None and value != "":
                record[field["name"]] = value
        sent = st.form_submit_button(words["classify.ask"], type="primary")
    return record if sent else None


def _widget(field: Mapping[str, Any], words: Texts, *, key: str) -> Any:
    label = _label(field, words)
    if field["kind"] == "boolean":
        return _choice(label, _YES_NO, field, words, key)
    if field["kind"] == "category":
        return _choice(label, tuple(field.get("categories", ())), field, words, key)
    return _number(label, field, words, key)


def _label(field: Mapping[str, Any], words: Texts) -> str:
    notes = [escape_markdown(str(field["unit"]))] if field.get("unit") else []
    if not field.get("required", True):
        notes.append(words["form.optional"])
    name = escape_markdown(str(field["name"]))
    return f"{name} :gray[({', '.join(notes)})]" if notes else name


def _choice(label: str, options: tuple[Any, ...], field: Mapping[str, Any], words: Texts, key: str) -> Any:
    example = field.get("example")
    return st.selectbox(
        label,
        options,
        index=options.index(example) if example in options else None,
        format_func=lambda value: words["form.yes" if value else "form.no"] if isinstance(value, bool) else str(value),
        placeholder=words["form.choose"],
        accept_new_options=field["kind"] == "category" and not field.get("closed", False),
        key=key,
    )


def _number(label: str, field: Mapping[str, Any], words: Texts, key: str) -> float | int | None:
    whole = field["kind"] == "integer"
    kind: type[int | float] = int if whole else float
    low, high, example = (None if field.get(name) is None else kind(field[name]) for name in ("minimum", "maximum", "example"))
    # Streamlit's types want each of them whole or none; at run time they are of one kind.
    limits: dict[str, Any] = {"min_value": low, "max_value": high, "value": example, "step": 1 if whole else None}
    given: float | int | None = st.number_input(
        label, format="%d" if whole else "%g", placeholder=words["form.empty"], key=key, **limits
    )
    return given
