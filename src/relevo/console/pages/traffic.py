"""What is asked of a model, live: how many requests, how long they take, how sure the answers are, by version.

model, span ─► GET /models/{name}/traffic (counted in the database) ─► tiles, plots        drawn again every few seconds
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import charts, layout
from relevo.console.components import html
from relevo.console.components.model_picker import model_chosen
from relevo.console.components.version_comparison import called
from relevo.errors import AuthenticationError, UnavailableError

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts

#: Name of a span → its length, the stretch that one column of its plots stands for, and how often it is drawn again (s).
_SPANS = {
    "hour": (timedelta(hours=1), 60, 3),
    "day": (timedelta(days=1), 900, 10),
    "week": (timedelta(days=7), 10_800, 60),
    "month": (timedelta(days=30), 21_600, 60),
}


def show(here: Session) -> None:
    """The page."""
    words = here.words
    html.begin()
    layout.heading(words["page.traffic"], words["traffic.lead"])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        name = model_chosen(here)
        if name is None:
            return
        span = st.segmented_control(
            words["traffic.span"], list(_SPANS), default="day", format_func=lambda one: words[f"traffic.{one}"], required=True
        )
        live = st.toggle(words["traffic.live"], value=True, help=words["traffic.live.help"], width="content")
    _length, _bucket, every_s = _SPANS[span]
    st.fragment(_drawn, run_every=every_s if live else None)(here, name, span)


def _drawn(here: Session, name: str, span: str) -> None:
    # Nobody stands around a fragment that runs by itself, so failures are told here.
    try:
        _draw(here, name, span)
    except AuthenticationError:
        layout.say_over(here.words)
    except UnavailableError:
        layout.say_away(here.words)


def _draw(here: Session, name: str, span: str) -> None:
    length, bucket_s, _ = _SPANS[span]
    until = datetime.now(UTC)
    asked = {"since": _iso(until - length), "until": _iso(until), "bucket": str(bucket_s)}
    found = here.client.ask("GET", f"/models/{name}/traffic", params=asked)
    if not found["total"]["requests"]:
        layout.say(here.words["traffic.none"], here.words("traffic.none.next", model=name, server=here.client.url))
        return
    _tiles(found, length, here.words)
    _plots(found, here.words)
    _by_version(found, here.words)


def _tiles(found: dict[str, Any], length: timedelta, words: Texts) -> None:
    total = found["total"]
    requests, latency = total["requests"], total["latency_ms"]
    html.tiles(
        [
            html.Tile(
                title=words["traffic.requests"],
                value=words.whole(requests),
                under=words("traffic.a_second", rate=words.number(requests / length.total_seconds(), digits=2)),
            ),
            html.Tile(
                title=words["traffic.errors"],
                value=words.whole(total["errors"]),
                under=words.percent(total["errors"] / requests),
                bad=total["errors"] > 0,
            ),
            html.Tile(title=words["traffic.median"], value=_ms(latency["p50"], words), under=words["traffic.median.under"]),
            html.Tile(
                title=words["traffic.p95"],
                value=_ms(latency["p95"], words),
                under=words("traffic.p99", value=_ms(latency["p99"], words)),
            ),
            html.Tile(title=words["traffic.confidence"], value=words.percent(total["confidence_mean"])),
            html.Tile(
                title=words["traffic.uncertain"],
                value=words.percent(total["uncertain"] / requests),
                under=words.whole(total["uncertain"]),
            ),
        ]
    )


def _plots(found: dict[str, Any], words: Texts) -> None:
    rows = [_row(slot, found["bucket_s"]) for slot in found["series"]]
    versions = [called(int(number)) for number in sorted(found["versions"], key=int)]
    span = [found["since"], found["until"]]
    charts.show(charts.requests(rows, versions, words, span=span), words, title=words["traffic.requests.plot"], height=260)
    failed = [row for row in rows if row["errors"]]
    if failed:
        charts.show(charts.errors(failed, words, span=span), words, title=words["traffic.errors.plot"], height=110)
    left, right = st.columns(2, gap="medium")
    answered = [row for row in rows if row["p50"] is not None]
    sure = [row for row in rows if row["confidence_mean"] is not None]
    with left:
        charts.show(charts.latency(answered, versions, words, span=span), words, title=words["traffic.latency.plot"])
    if not sure:
        return
    with right:
        charts.show(charts.confidence(sure, versions, words, span=span), words, title=words["traffic.confidence.plot"])
    charts.show(charts.spread(_spread(found["versions"]), versions, words), words, title=words["traffic.spread.plot"], height=260)


def _row(slot: dict[str, Any], bucket_s: int) -> dict[str, Any]:
    begin = datetime.fromisoformat(slot["at"])
    return {
        "at": slot["at"],
        "middle": _iso(begin + timedelta(seconds=bucket_s / 2)),
        "end": _iso(begin + timedelta(seconds=bucket_s)),
        "version": called(slot["version"]),
        "requests": slot["requests"],
        "errors": slot["errors"],
        "confidence_mean": slot["confidence_mean"],
        "uncertain_share": slot["uncertain"] / slot["requests"] if slot["requests"] else None,
        **slot["latency_ms"],
    }


def _spread(versions: dict[str, Any]) -> list[dict[str, Any]]:
    """How each version's confidences spread over the twentieths, and a last row that closes the step."""
    rows = []
    for number, counts in versions.items():
        times = counts["confidence_counts"]
        whole, step = sum(times), 1 / len(times)
        for at, some in enumerate([*times, times[-1]]):
            share = some / whole if whole else 0.0
            rows.append({"version": called(int(number)), "low": at * step, "high": min(1.0, (at + 1) * step), "share": share})
    return rows


def _by_version(found: dict[str, Any], words: Texts) -> None:
    html.section(words["traffic.by_version"])
    html.table(
        [words[key] for key in ("models.version", "traffic.requests", "traffic.errors", "traffic.median")]
        + [words[key] for key in ("traffic.p95", "traffic.confidence", "traffic.uncertain")],
        [
            [
                called(int(number)),
                words.whole(one["requests"]),
                words.whole(one["errors"]),
                _ms(one["latency_ms"]["p50"], words),
                _ms(one["latency_ms"]["p95"], words),
                words.percent(one["confidence_mean"]),
                words.percent(one["uncertain"] / one["requests"] if one["requests"] else None),
            ]
            for number, one in sorted(found["versions"].items(), key=lambda pair: int(pair[0]))
        ],
        figures=range(1, 7),
    )


def _ms(value: float | None, words: Texts) -> str:
    return "–" if value is None else f"{words.number(value, digits=3)} ms"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
