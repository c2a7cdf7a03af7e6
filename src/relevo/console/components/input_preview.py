"""What was sent to a model, as a person sees it: a picture, or named values. Fetched small, kept for the visit, escaped.

fetch(session, row, side) ─► Seen(picture as a data: URI) | Seen(values) | Seen(why not)
"""

from __future__ import annotations

import base64
import html
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.errors import AuthenticationError, NotFoundError, RelevoError, RequestRejectedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relevo.client import Client
    from relevo.console.session import Session
    from relevo.console.texts import Texts

#: Up to this side a picture is shown enlarged, pixel by pixel.
_TINY = 64
_MOST_KEPT = 300
_AT_ONCE = 4
_MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))
#: Where a PNG keeps its width and height.
_SIZE_AT = slice(16, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPreview:
    """One input; kept as long as the visit."""

    picture: str = ""  # a data: URI
    tiny: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    #: A key of the words: why there is nothing to see.
    lack: str = ""


def many(here: Session, rows: Sequence[Mapping[str, Any]], side: int) -> list[InputPreview]:
    """The inputs of some rows of the history, a few at a time; side: of pictures, in pixels. Raises AuthenticationError."""
    kept = _kept()
    fetch_into(kept, here.client, lacking(rows, side), side)
    found = [kept[row["query_id"], side] for row in rows]
    for old in list(kept)[: max(0, len(kept) - _MOST_KEPT)]:
        kept.pop(old, None)
    return found


def lacking(rows: Sequence[Mapping[str, Any]], side: int) -> list[Mapping[str, Any]]:
    """Those of the rows whose inputs are not at hand."""
    kept = _kept()
    return [row for row in rows if (row["query_id"], side) not in kept]


def fetch_into(kept: dict[tuple[str, int], InputPreview], client: Client, rows: Sequence[Mapping[str, Any]], side: int) -> None:
    """Fetch some inputs; may run on a thread of its own. Raises AuthenticationError."""
    if not rows:
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for row, seen in zip(rows, pool.map(lambda row: _fetch(client, row, side), rows), strict=True):
            kept[row["query_id"], side] = seen


def _kept() -> dict[tuple[str, int], InputPreview]:
    found: dict[tuple[str, int], InputPreview] = st.session_state.setdefault("inputs", {})
    return found


def one(here: Session, row: Mapping[str, Any], side: int) -> InputPreview:
    """The input of one row."""
    return many(here, [row], side)[0]


def _fetch(client: Client, row: Mapping[str, Any], side: int) -> InputPreview:
    if not row["input_kept"]:
        return InputPreview(lack="input.not_kept")
    try:
        kind, content = client.file(
            f"/predictions/{row['query_id']}/input", **({"side": str(side)} if row["kind"] == "image" else {})
        )
    except AuthenticationError:
        raise
    except RequestRejectedError:
        return InputPreview(lack="input.not_yours")
    except NotFoundError:
        return InputPreview(lack="input.not_kept")
    except RelevoError:
        return InputPreview(lack="input.unreadable")
    return of_bytes(kind, content)


def of_bytes(kind: str, content: bytes) -> InputPreview:
    """A picture or a record as it came from the server."""
    if kind.startswith("image/"):
        sides = content[_SIZE_AT]
        size = max(int.from_bytes(sides[:4], "big"), int.from_bytes(sides[4:], "big")) if kind == "image/png" else _TINY + 1
        return InputPreview(picture=f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}", tiny=size <= _TINY)
    found = json.loads(content)
    return InputPreview(values=found if isinstance(found, dict) else {"": found})


def kind_of(content: bytes) -> str:
    """The media type of a picture by its first bytes."""
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), "application/octet-stream")


def picture(seen: InputPreview, alt: str) -> str:
    """The picture alone."""
    return f'<img src="{seen.picture}" class="{"tiny" if seen.tiny else ""}" alt="{html.escape(alt, quote=True)}">'


def shown(seen: InputPreview, words: Texts, alt: str) -> str:
    """The input at its full size, or why there is none."""
    if seen.picture:
        return f'<div class="rv-sent">{picture(seen, alt)}</div>'
    if seen.lack:
        return f'<div class="rv-sent"><p class="rv-small">{html.escape(words[seen.lack])}</p></div>'
    return f'<div class="rv-record">{facts(values(seen.values, words))}</div>'


def values(record: Mapping[str, Any], words: Texts) -> Iterable[tuple[str, str]]:
    """A record's fields as words."""
    for name, value in record.items():
        yield name, said(value, words)


def said(value: object, words: Texts) -> str:
    """One value of a record in the reader's language."""
    if isinstance(value, bool):
        return words["form.yes" if value else "form.no"]
    if isinstance(value, int | float):
        return words.number(value, digits=10)
    return "–" if value is None else str(value)


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, aligned."""
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="rv-facts">{rows}</dl>'
