"""Every plot of the console: rows in, an Altair chart out, in the reader's language and the page's colours.

plain rows ─► chart ─ spoken(words): numbers and dates as the language writes them ─► show(chart)

Charts carry their data with them and are drawn by what Streamlit brings: nothing is fetched. Colours that are not named come from
the theme, so light and dark follow by themselves. A version has the same colour in every plot, whatever others are in it. A line
joins neighbours alone: where nothing was measured nothing is drawn.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import altair as alt
import streamlit as st

from relevo.console.components import html

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.console.texts import Texts

Rows = list[dict[str, Any]]
Drawn = alt.Chart | alt.LayerChart | alt.FacetChart

#: Labels beyond which a confusion matrix has no room for numbers in its cells.
_CELLS_WITH_NUMBERS = 15
#: One version needs no legend.
_TOLD_APART = 2
#: Up to so many rows have a dot each on their line.
_DOTS = 60
_TICKS = {
    "seconds": "%H:%M:%S",
    "minutes": "%H:%M",
    "hours": "%H:%M",
    "date": "%-d %b",
    "day": "%-d %b",
    "week": "%-d %b",
    "month": "%b",
    "quarter": "%b",
    "year": "%Y",
}
_DARK = {"ink": "#eceae4", "on_mark": "#220c03", "soft": "#a8adb8", "bad": "#ff9aa9", "mark": "#ff8f66"}
_LIGHT = {"ink": "#1d2129", "on_mark": "#ffffff", "soft": "#595f6c", "bad": "#98182c", "mark": "#b23c1b"}


def show(chart: Drawn, words: Texts, *, title: str, height: int = 240) -> None:
    """Draw a chart as wide as its column, its title above it. height: pixels."""
    html.plot_title(title)
    st.altair_chart(spoken(chart.properties(height=height), words), theme="streamlit")


def spoken(chart: Drawn, words: Texts) -> Drawn:
    """The chart with its numbers and dates in the language of these words."""
    told: Drawn = chart.configure(locale=_LOCALES[words.language]) if words.language in _LOCALES else chart
    return told


# --- versions, side by side -----------------------------------------------------------------------------------------------


def intervals(rows: Rows, words: Texts, *, axis: str) -> Drawn:
    """A figure of each version with its interval. rows: version, order, value, low, high, marked."""
    base = _chart(rows).encode(
        y=alt.Y("version:N", sort=alt.SortField("order", order="descending"), title=None, axis=alt.Axis(grid=False)),
        color=alt.condition("datum.marked", alt.value(_colour("mark")), alt.value(_colour("soft"))),
        tooltip=[
            alt.Tooltip("version:N", title=words["models.version"]),
            alt.Tooltip("value:Q", title=axis, format=".2%"),
            alt.Tooltip("low:Q", title=words["models.low"], format=".2%"),
            alt.Tooltip("high:Q", title=words["models.high"], format=".2%"),
        ],
    )
    span = base.mark_rule(strokeWidth=3, strokeCap="round", opacity=0.45).encode(
        x=alt.X("low:Q", title=None, scale=alt.Scale(zero=False, nice=True, padding=12), axis=alt.Axis(format="%", tickCount=5)),
        x2="high:Q",
    )
    drawn: Drawn = span + base.mark_point(filled=True, size=110, opacity=1).encode(x="value:Q")
    return drawn


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], words: Texts) -> Drawn:
    """What was said against what was true; the shade is the share of the truth. matrix: (prediction, truth)."""
    sums = [max(1, sum(row[truth] for row in matrix)) for truth in range(len(labels))]
    rows = [
        {"said": said, "truth": truth, "times": matrix[at][to], "share": matrix[at][to] / sums[to]}
        for at, said in enumerate(labels)
        for to, truth in enumerate(labels)
    ]
    order = list(labels)
    numbered = len(labels) <= _CELLS_WITH_NUMBERS
    slant = 0 if max(map(len, order)) <= 3 else -40
    base = _chart(rows).encode(
        x=alt.X("truth:N", sort=order, title=words["models.truth"], axis=alt.Axis(labelAngle=slant, grid=False, labelLimit=90)),
        y=alt.Y("said:N", sort=order, title=words["models.said"], axis=alt.Axis(grid=False, labelLimit=90)),
        tooltip=[
            alt.Tooltip("truth:N", title=words["models.truth"]),
            alt.Tooltip("said:N", title=words["models.said"]),
            alt.Tooltip("times:Q", title=words["models.rows"], format=","),
            alt.Tooltip("share:Q", title=words["models.share"], format=".1%"),
        ],
    )
    shade = base.mark_rect(color=_colour("mark"), cornerRadius=2, stroke=None).encode(
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 1]), legend=None)
    )
    numbers = base.mark_text(fontSize=11).encode(
        text=alt.condition("datum.times > 0", alt.Text("times:Q", format=","), alt.value("")),
        color=alt.condition("datum.share > 0.5", alt.value(_colour("on_mark")), alt.value(_colour("ink"))),
    )
    drawn: Drawn = alt.layer(shade, numbers) if numbered else alt.layer(shade)
    return drawn


def calibration(rows: Rows, versions: Sequence[str], words: Texts) -> Drawn:
    """How often a confidence was right; the dashed line is honesty.

    rows: version, confidence, accuracy, times, run; no line joins one run with the next.
    """
    honest = _chart([{"at": 0.0}, {"at": 1.0}]).mark_line(strokeDash=[4, 4], color=_colour("soft"), opacity=0.7)
    base = _chart(rows).encode(
        x=alt.X("confidence:Q", title=words["models.confidence"], scale=alt.Scale(domain=[0, 1]), axis=_share_axis()),
        y=alt.Y("accuracy:Q", title=words["models.right"], scale=alt.Scale(domain=[0, 1]), axis=_share_axis()),
        color=_by_version(versions),
    )
    dots = base.mark_point(filled=True, opacity=0.9).encode(
        size=alt.Size("times:Q", scale=alt.Scale(range=[25, 350]), legend=None),
        tooltip=[
            alt.Tooltip("version:N", title=words["models.version"]),
            alt.Tooltip("confidence:Q", title=words["models.confidence"], format=".1%"),
            alt.Tooltip("accuracy:Q", title=words["models.right"], format=".1%"),
            alt.Tooltip("times:Q", title=words["models.rows"], format=","),
        ],
    )
    drawn: Drawn = honest.encode(x="at:Q", y="at:Q") + base.mark_line(opacity=0.5).encode(detail="run:N") + dots
    return drawn


def per_label(rows: Rows, versions: Sequence[str], words: Texts) -> Drawn:
    """F1 of each label, by version. rows: version, label, f1, precision, recall, times."""
    order = list(dict.fromkeys(row["label"] for row in rows))
    drawn: Drawn = (
        _chart(rows)
        .mark_point(filled=True, size=90, opacity=0.85)
        .encode(
            x=alt.X("f1:Q", title="F1", scale=alt.Scale(zero=False, nice=True, padding=8), axis=alt.Axis(format="%", tickCount=5)),
            y=alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=130)),
            color=_by_version(versions),
            tooltip=[
                alt.Tooltip("version:N", title=words["models.version"]),
                alt.Tooltip("label:N", title=words["models.label"]),
                alt.Tooltip("f1:Q", title="F1", format=".1%"),
                alt.Tooltip("precision:Q", title=words["models.precision"], format=".1%"),
                alt.Tooltip("recall:Q", title=words["models.recall"], format=".1%"),
                alt.Tooltip("times:Q", title=words["models.rows"], format=","),
            ],
        )
    )
    return drawn


# --- traffic over time ----------------------------------------------------------------------------------------------------


def requests(rows: Rows, versions: Sequence[str], words: Texts, *, span: Sequence[str]) -> Drawn:
    """Requests in each stretch, a colour a version, one upon the other. rows: at, end, version, requests, errors."""
    drawn: Drawn = (
        _chart(_piled(rows, "requests"))
        .mark_rect()
        .encode(
            x=_time(span),
            x2="end:T",
            y=alt.Y("low:Q", title=None, axis=alt.Axis(format="~s", tickMinStep=1, tickCount=4)),
            y2="high:Q",
            color=_by_version(versions),
            tooltip=[
                _moment(words),
                alt.Tooltip("version:N", title=words["models.version"]),
                alt.Tooltip("requests:Q", title=words["traffic.requests"], format=","),
                alt.Tooltip("errors:Q", title=words["traffic.errors"], format=","),
            ],
        )
    )
    return drawn


def errors(rows: Rows, words: Texts, *, span: Sequence[str]) -> Drawn:
    """Failures in each stretch. rows: at, end, version, errors."""
    drawn: Drawn = (
        _chart(_piled(rows, "errors"))
        .mark_rect(color=_colour("bad"))
        .encode(
            x=_time(span),
            x2="end:T",
            y=alt.Y("low:Q", title=None, axis=alt.Axis(format="~s", tickMinStep=1, tickCount=3)),
            y2="high:Q",
            tooltip=[
                _moment(words),
                alt.Tooltip("version:N", title=words["models.version"]),
                alt.Tooltip("errors:Q", title=words["traffic.errors"], format=","),
            ],
        )
    )
    return drawn


def latency(rows: Rows, versions: Sequence[str], words: Texts, *, span: Sequence[str]) -> Drawn:
    """Latency by version: the line is the median, the band ends at the 95th percentile.

    rows: at, end, middle, version, p50, p95, p99; a stretch without answers has no row.
    """
    base = _chart(_in_runs(rows)).encode(
        x=_time(span, field="middle"),
        color=_by_version(versions),
        detail="run:N",
        tooltip=[
            _moment(words),
            alt.Tooltip("version:N", title=words["models.version"]),
            *(alt.Tooltip(f"{name}:Q", title=f"{name} (ms)", format=",.2~f") for name in ("p50", "p95", "p99")),
        ],
    )
    scale = alt.Y("p50:Q", title="ms", axis=alt.Axis(format=",~f", tickCount=4))
    band = base.mark_area(opacity=0.18).encode(y=scale, y2="p95:Q")
    # A stretch between two gaps has no width to fill.
    alone = base.transform_filter("datum.alone").mark_rule(opacity=0.3, strokeWidth=3).encode(y=scale, y2="p95:Q")
    drawn: Drawn = band + alone + base.mark_line().encode(y=scale) + _dots(base).encode(y=scale)
    return drawn


def confidence(rows: Rows, versions: Sequence[str], words: Texts, *, span: Sequence[str]) -> Drawn:
    """Mean confidence of each version over time. rows: at, end, middle, version, confidence_mean, uncertain_share."""
    base = _chart(_in_runs(rows)).encode(
        x=_time(span, field="middle"),
        # Versions that are all but certain lie close together: two places, where a bare "%" would write six.
        y=alt.Y("confidence_mean:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(format=".2~%", tickCount=4)),
        color=_by_version(versions),
        detail="run:N",
        tooltip=[
            _moment(words),
            alt.Tooltip("version:N", title=words["models.version"]),
            alt.Tooltip("confidence_mean:Q", title=words["traffic.confidence"], format=".1%"),
            alt.Tooltip("uncertain_share:Q", title=words["traffic.uncertain"], format=".1%"),
        ],
    )
    drawn: Drawn = base.mark_line() + _dots(base)
    return drawn


def spread(rows: Rows, versions: Sequence[str], words: Texts) -> Drawn:
    """How confidences spread, a version beside the other. rows: version, low, high, share."""
    drawn: Drawn = (
        _chart(rows)
        .mark_area(interpolate="step-after", opacity=0.22, line=True)
        .encode(
            x=alt.X("low:Q", title=words["models.confidence"], scale=alt.Scale(domain=[0, 1]), axis=_share_axis()),
            y=alt.Y("share:Q", title=words["traffic.of_answers"], stack=None, axis=alt.Axis(format="%", tickCount=4)),
            color=_by_version(versions),
            tooltip=[
                alt.Tooltip("version:N", title=words["models.version"]),
                alt.Tooltip("low:Q", title=words["models.low"], format=".0%"),
                alt.Tooltip("high:Q", title=words["models.high"], format=".0%"),
                alt.Tooltip("share:Q", title=words["traffic.of_answers"], format=".1%"),
            ],
        )
    )
    return drawn


# --- what they share ------------------------------------------------------------------------------------------------------


def _chart(rows: Rows) -> alt.Chart:
    # As a plain dict Altair would count the rows and refuse many.
    return alt.Chart(alt.InlineData(values=rows))


def _by_version(versions: Sequence[str]) -> alt.Color:
    # Every version up to the latest has its place in the scale, so that those of another span change no colour.
    latest = max((int(version.lstrip("v")) for version in versions), default=0)
    scale = alt.Scale(domain=[f"v{number}" for number in range(1, latest + 1)])
    if len(versions) < _TOLD_APART:
        return alt.Color("version:N", scale=scale, legend=None)
    legend = alt.Legend(
        orient="top", title=None, symbolType="circle", symbolOpacity=1, columns=6, offset=6, padding=0, values=list(versions)
    )
    return alt.Color("version:N", scale=scale, legend=legend)


def _in_runs(rows: Rows) -> Rows:
    """The rows with the `run` each belongs to: stretches of a version that follow one another. `dot`: drawn as one, too."""
    ends: dict[str, datetime] = {}
    runs: dict[str, int] = {}
    told = []
    for row in sorted(rows, key=lambda row: datetime.fromisoformat(row["at"])):
        version = row["version"]
        if ends.get(version) != datetime.fromisoformat(row["at"]):
            runs[version] = runs.get(version, 0) + 1
        ends[version] = datetime.fromisoformat(row["end"])
        told.append({**row, "run": f"{version}/{runs[version]}"})
    lengths = Counter(row["run"] for row in told)
    few = len(told) <= _DOTS
    return [{**row, "alone": lengths[row["run"]] == 1, "dot": few or lengths[row["run"]] == 1} for row in told]


def _time(span: Sequence[str], *, field: str = "at") -> alt.X:
    axis = alt.Axis(format=_TICKS, grid=False, labelOverlap=True, tickCount=6)
    return alt.X(f"{field}:T", title=None, axis=axis, scale=alt.Scale(domain=list(span)))


def _piled(rows: Rows, field: str) -> Rows:
    """The rows with `low` and `high`, so that those of one stretch stand upon each other."""
    heights: dict[str, int] = {}
    piled = []
    for row in rows:
        low = heights.get(row["at"], 0)
        heights[row["at"]] = low + row[field]
        piled.append({**row, "low": low, "high": low + row[field]})
    return piled


def _dots(base: alt.Chart) -> alt.Chart:
    """Points on a line: all where they are few, else those between two gaps, which no line would show."""
    dots: alt.Chart = base.transform_filter("datum.dot").mark_point(size=22, filled=True, opacity=1)
    return dots


def _moment(words: Texts) -> alt.Tooltip:
    return alt.Tooltip("at:T", title=words["traffic.from"], format="%-d %b, %H:%M %Z")


def _share_axis() -> alt.Axis:
    return alt.Axis(format="%", tickCount=5)


def _colour(name: str) -> str:
    return (_DARK if st.context.theme.type == "dark" else _LIGHT)[name]


_MONTHS_ES = ["enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto"]
_MONTHS_ES += ["septiembre", "octubre", "noviembre", "diciembre"]
_DAYS_ES = ["domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"]
#: As d3 wants them: https://github.com/d3/d3-format and d3-time-format.
_LOCALES: dict[str, dict[str, Any]] = {
    "es": {
        "number": {"decimal": ",", "thousands": ".", "grouping": [3], "currency": ["", "\u00a0€"], "percent": "\u00a0%"},
        "time": {
            "dateTime": "%A, %e de %B de %Y, %X",
            "date": "%d/%m/%Y",
            "time": "%H:%M:%S",
            "periods": ["AM", "PM"],
            "days": _DAYS_ES,
            "shortDays": [day[:3] for day in _DAYS_ES],
            "months": _MONTHS_ES,
            "shortMonths": [month[:3] for month in _MONTHS_ES],
        },
    },
}
