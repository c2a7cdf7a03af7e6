"""The traffic page: requests, errors, latency and confidence of a model by version, refreshed every few seconds.

model, span ─► GET /models/{name}/traffic (aggregated in the database) ─► tiles, charts
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.console import charts, layout
from relevo.console.components import html
from relevo.console.components.model_picker import pick_model
from relevo.console.components.version_comparison import version_label
from relevo.errors import AuthenticationError, UnavailableError

if TYPE_CHECKING:
    from relevo.console.session import Session
    from relevo.console.texts import Texts

#: Name of a time span → its length, the bucket of its charts (s), and its refresh interval (s).
_SPANS = {
    "hour": (timedelta(hours=1), 60, 3),
    "day": (timedelta(days=1), 900, 10),
    "week": (timedelta(days=7), 10_800, 60),
    "month": (timedelta(days=30), 21_600, 60),
}


def show(session: Session) -> None:
    """Draws the page."""
    texts = session.texts
    html.load_style()
    layout.heading(texts["page.traffic"], texts["traffic.lead"])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        name = pick_model(session)
        if name is None:
            return
        span = st.segmented_control(
            texts["traffic.span"], list(_SPANS), default="day", format_func=lambda name: texts[f"traffic.{name}"], required=True
        )
        live = st.toggle(texts["traffic.live"], value=True, help=texts["traffic.live.help"], width="content")
    _length, _bucket, refresh_s = _SPANS[span]
    st.fragment(_show, run_every=refresh_s if live else None)(session, name, span)


def _show(session: Session, name: str, span: str) -> None:
    # A fragment that runs by itself is outside the error handling of app.py.
    try:
        _draw(session, name, span)
    except AuthenticationError:
        layout.show_session_expired(session.texts)
    except UnavailableError:
        layout.show_server_unavailable(session.texts)


def _draw(session: Session, name: str, span: str) -> None:
    length, bucket_s, _ = _SPANS[span]
    until = datetime.now(UTC)
    params = {"since": _iso(until - length), "until": _iso(until), "bucket": str(bucket_s)}
    traffic = session.client.request_json("GET", f"/models/{name}/traffic", params=params)
    if not traffic["total"]["requests"]:
        layout.show_empty_state(
            session.texts["traffic.none"], session.texts("traffic.none.next", model=name, server=session.client.url)
        )
        return
    _tiles(traffic, length, session.texts)
    _charts(traffic, session.texts)
    _by_version(traffic, session.texts)


def _tiles(traffic: dict[str, Any], length: timedelta, texts: Texts) -> None:
    total = traffic["total"]
    requests, latency = total["requests"], total["latency_ms"]
    html.tiles(
        [
            html.Tile(
                title=texts["traffic.requests"],
                value=texts.integer(requests),
                under=texts("traffic.a_second", rate=texts.number(requests / length.total_seconds(), digits=2)),
            ),
            html.Tile(
                title=texts["traffic.errors"],
                value=texts.integer(total["errors"]),
                under=texts.percent(total["errors"] / requests),
                bad=total["errors"] > 0,
            ),
            html.Tile(title=texts["traffic.median"], value=_ms(latency["p50"], texts), under=texts["traffic.median.under"]),
            html.Tile(
                title=texts["traffic.p95"],
                value=_ms(latency["p95"], texts),
                under=texts("traffic.p99", value=_ms(latency["p99"], texts)),
            ),
            html.Tile(title=texts["traffic.confidence"], value=texts.percent(total["confidence_mean"])),
            html.Tile(
                title=texts["traffic.uncertain"],
                value=texts.percent(total["uncertain"] / requests),
                under=texts.integer(total["uncertain"]),
            ),
        ]
    )


def _charts(traffic: dict[str, Any], texts: Texts) -> None:
    rows = [_row(bucket, traffic["bucket_s"]) for bucket in traffic["series"]]
    versions = [version_label(int(number)) for number in sorted(traffic["versions"], key=int)]
    span = [traffic["since"], traffic["until"]]
    charts.show(charts.requests(rows, versions, texts, span=span), texts, title=texts["traffic.requests.plot"], height=260)
    failed = [row for row in rows if row["errors"]]
    if failed:
        charts.show(charts.errors(failed, texts, span=span), texts, title=texts["traffic.errors.plot"], height=110)
    left, right = st.columns(2, gap="medium")
    with_latency = [row for row in rows if row["p50"] is not None]
    with_confidence = [row for row in rows if row["confidence_mean"] is not None]
    with left:
        charts.show(charts.latency(with_latency, versions, texts, span=span), texts, title=texts["traffic.latency.plot"])
    if not with_confidence:
        return
    with right:
        charts.show(charts.confidence(with_confidence, versions, texts, span=span), texts, title=texts["traffic.confidence.plot"])
    bins = _confidence_histogram(traffic["versions"])
    charts.show(charts.confidence_histogram(bins, versions, texts), texts, title=texts["traffic.spread.plot"], height=260)


def _row(bucket: dict[str, Any], bucket_s: int) -> dict[str, Any]:
    start = datetime.fromisoformat(bucket["at"])
    return {
        "at": bucket["at"],
        "middle": _iso(start + timedelta(seconds=bucket_s / 2)),
        "end": _iso(start + timedelta(seconds=bucket_s)),
        "version": version_label(bucket["version"]),
        "requests": bucket["requests"],
        "errors": bucket["errors"],
        "confidence_mean": bucket["confidence_mean"],
        "uncertain_share": bucket["uncertain"] / bucket["requests"] if bucket["requests"] else None,
        **bucket["latency_ms"],
    }


def _confidence_histogram(versions: dict[str, Any]) -> list[dict[str, Any]]:
    """Histogram of the confidences of each version in 20 bins, with a last row that closes the step."""
    rows = []
    for number, counts in versions.items():
        times = counts["confidence_counts"]
        total, step = sum(times), 1 / len(times)
        for index, count in enumerate([*times, times[-1]]):
            share = count / total if total else 0.0
            low = index * step
            rows.append({"version": version_label(int(number)), "low": low, "high": min(1.0, (index + 1) * step), "share": share})
    return rows


def _by_version(traffic: dict[str, Any], texts: Texts) -> None:
    html.section(texts["traffic.by_version"])
    html.table(
        [texts[key] for key in ("models.version", "traffic.requests", "traffic.errors", "traffic.median")]
        + [texts[key] for key in ("traffic.p95", "traffic.confidence", "traffic.uncertain")],
        [
            [
                version_label(int(number)),
                texts.integer(counts["requests"]),
                texts.integer(counts["errors"]),
                _ms(counts["latency_ms"]["p50"], texts),
                _ms(counts["latency_ms"]["p95"], texts),
                texts.percent(counts["confidence_mean"]),
                texts.percent(counts["uncertain"] / counts["requests"] if counts["requests"] else None),
            ]
            for number, counts in sorted(traffic["versions"].items(), key=lambda pair: int(pair[0]))
        ],
        figures=range(1, 7),
    )


def _ms(value: float | None, texts: Texts) -> str:
    return "–" if value is None else f"{texts.number(value, digits=3)} ms"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
