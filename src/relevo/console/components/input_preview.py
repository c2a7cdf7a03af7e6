"""Previews of model inputs: an image, or the fields of a record. Fetched at small size, cached, escaped.

load_many(session, rows, side) ─► InputPreview(picture as a data: URI) | InputPreview(values) | InputPreview(missing_reason)
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

#: Images up to this side, in pixels, are shown enlarged without smoothing.
_TINY = 64
_MAX_CACHED = 300
_PARALLEL = 4
_MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))
#: Bytes of width and height in a PNG file.
_PNG_SIZE = slice(16, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPreview:
    """One input. Lifetime: the browser session."""

    picture: str = ""  # a data: URI
    tiny: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    #: Key of the text that says why there is no preview.
    missing_reason: str = ""


def load_many(session: Session, rows: Sequence[Mapping[str, Any]], side: int) -> list[InputPreview]:
    """Previews for rows of the history, fetched in parallel. side: of images, in pixels. Raises AuthenticationError."""
    cache = _cache()
    fetch_into(cache, session.client, missing(rows, side), side)
    previews = [cache[row["query_id"], side] for row in rows]
    for key in list(cache)[: max(0, len(cache) - _MAX_CACHED)]:
        cache.pop(key, None)
    return previews


def missing(rows: Sequence[Mapping[str, Any]], side: int) -> list[Mapping[str, Any]]:
    """The rows whose previews are not cached."""
    cache = _cache()
    return [row for row in rows if (row["query_id"], side) not in cache]


def fetch_into(cache: dict[tuple[str, int], InputPreview], client: Client, rows: Sequence[Mapping[str, Any]], side: int) -> None:
    """Fetches previews into the cache; may run in another thread. Raises AuthenticationError."""
    if not rows:
        return
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for row, preview in zip(rows, pool.map(lambda row: _fetch(client, row, side), rows), strict=True):
            cache[row["query_id"], side] = preview


def _cache() -> dict[tuple[str, int], InputPreview]:
    cache: dict[tuple[str, int], InputPreview] = st.session_state.setdefault("inputs", {})
    return cache


def load(session: Session, row: Mapping[str, Any], side: int) -> InputPreview:
    """The preview for one row. side: as in `load_many`. Raises AuthenticationError."""
    return load_many(session, [row], side)[0]


def _fetch(client: Client, row: Mapping[str, Any], side: int) -> InputPreview:
    if not row["input_kept"]:
        return InputPreview(missing_reason="input.not_kept")
    try:
        kind, content = client.download(
            f"/predictions/{row['query_id']}/input", **({"side": str(side)} if row["kind"] == "image" else {})
        )
    except AuthenticationError:
        raise
    except RequestRejectedError:
        return InputPreview(missing_reason="input.not_yours")
    except NotFoundError:
        return InputPreview(missing_reason="input.not_kept")
    except RelevoError:
        return InputPreview(missing_reason="input.unreadable")
    return from_bytes(kind, content)


def from_bytes(kind: str, content: bytes) -> InputPreview:
    """The preview of an image, or of a record as JSON. kind: its media type."""
    if kind.startswith("image/"):
        sides = content[_PNG_SIZE]
        size = max(int.from_bytes(sides[:4], "big"), int.from_bytes(sides[4:], "big")) if kind == "image/png" else _TINY + 1
        return InputPreview(picture=f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}", tiny=size <= _TINY)
    record = json.loads(content)
    return InputPreview(values=record if isinstance(record, dict) else {"": record})


def media_type(content: bytes) -> str:
    """The media type of an image by its first bytes."""
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), "application/octet-stream")


def image_tag(preview: InputPreview, alt: str) -> str:
    """The image as an <img> element."""
    return f'<img src="{preview.picture}" class="{"tiny" if preview.tiny else ""}" alt="{html.escape(alt, quote=True)}">'


def render(preview: InputPreview, texts: Texts, alt: str) -> str:
    """The input at full size as HTML, or the reason why it is missing."""
    if preview.picture:
        return f'<div class="rv-sent">{image_tag(preview, alt)}</div>'
    if preview.missing_reason:
        return f'<div class="rv-sent"><p class="rv-small">{html.escape(texts[preview.missing_reason])}</p></div>'
    return f'<div class="rv-record">{definition_list(format_record(preview.values, texts))}</div>'


def format_record(record: Mapping[str, Any], texts: Texts) -> Iterable[tuple[str, str]]:
    """The fields of a record as pairs of name and formatted value."""
    for name, value in record.items():
        yield name, _format_value(value, texts)


def _format_value(value: object, texts: Texts) -> str:
    if isinstance(value, bool):
        return texts["form.yes" if value else "form.no"]
    if isinstance(value, int | float):
        return texts.number(value, digits=10)
    return "–" if value is None else str(value)


def definition_list(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values as an HTML list in two columns."""
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="rv-facts">{rows}</dl>'
