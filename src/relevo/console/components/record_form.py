"""The input form of a tabular model: one Streamlit widget for each field of the signature.

manifest["input"]["fields"] ─► widgets ─► {"tenure": 41, "contract": "one_year"}      empty fields are left out
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


def show(fields: Sequence[Mapping[str, Any]], texts: Texts, *, model: str) -> dict[str, Any] | None:
    """Draws the form with the examples of the fields; returns the record if it was submitted, else None."""
    with st.form(f"record-{model}", border=False):
        columns = st.columns(_COLUMNS)
        record = {}
        for index, field in enumerate(fields):
            with columns[index % _COLUMNS]:
                value = _widget(field, texts, key=f"field-{model}-{field['name']}")
            if value is not None and value != "":
                record[field["name"]] = value
        submitted = st.form_submit_button(texts["classify.ask"], type="primary")
    return record if submitted else None


def _widget(field: Mapping[str, Any], texts: Texts, *, key: str) -> Any:
    label = _label(field, texts)
    if field["kind"] == "boolean":
        return _select(label, _YES_NO, field, texts, key)
    if field["kind"] == "category":
        return _select(label, tuple(field.get("categories", ())), field, texts, key)
    return _number(label, field, texts, key)


def _label(field: Mapping[str, Any], texts: Texts) -> str:
    notes = [escape_markdown(str(field["unit"]))] if field.get("unit") else []
    if not field.get("required", True):
        notes.append(texts["form.optional"])
    name = escape_markdown(str(field["name"]))
    return f"{name} :gray[({', '.join(notes)})]" if notes else name


def _select(label: str, options: tuple[Any, ...], field: Mapping[str, Any], texts: Texts, key: str) -> Any:
    example = field.get("example")
    return st.selectbox(
        label,
        options,
        index=options.index(example) if example in options else None,
        format_func=lambda value: texts["form.yes" if value else "form.no"] if isinstance(value, bool) else str(value),
        placeholder=texts["form.choose"],
        accept_new_options=field["kind"] == "category" and not field.get("restrict_to_categories", False),
        key=key,
    )


def _number(label: str, field: Mapping[str, Any], texts: Texts, key: str) -> float | int | None:
    is_integer = field["kind"] == "integer"
    kind: type[int | float] = int if is_integer else float
    low, high, example = (None if field.get(name) is None else kind(field[name]) for name in ("minimum", "maximum", "example"))
    # Streamlit's type hints need all of them int or all of them float; at run time they have one type.
    limits: dict[str, Any] = {"min_value": low, "max_value": high, "value": example, "step": 1 if is_integer else None}
    value: float | int | None = st.number_input(
        label, format="%d" if is_integer else "%g", placeholder=texts["form.empty"], key=key, **limits
    )
    return value
