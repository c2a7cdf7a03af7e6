"""All charts of the console, made with Altair in the language of the reader and the colours of the theme.

rows (list of dicts) ─► chart ─ localize(texts): formats of numbers and dates ─► show(chart)

Charts contain their data and are drawn by Streamlit's own scripts: the browser loads nothing else. Colours that are not set here
come from the theme, light or dark. A version has the same colour in every chart. Lines connect adjacent time buckets only, so a
gap in the data is a gap in the line.
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
Chart = alt.Chart | alt.LayerChart | alt.FacetChart

#: A confusion matrix with more labels has no numbers in its cells.
_MAX_LABELS_WITH_NUMBERS = 15
#: Fewer versions need no legend.
_MIN_LEGEND = 2
#: Up to this number of rows, each row has a dot on its line.
_MAX_DOTS = 60
_TICK_FORMATS = {
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


def show(chart: Chart, texts: Texts, *, title: str, height: int = 240) -> None:
    """Draws a chart at the width of its column, with its title above it. height: pixels."""
    html.plot_title(title)
    st.altair_chart(localize(chart.properties(height=height), texts), theme="streamlit")


def localize(chart: Chart, texts: Texts) -> Chart:
    """The chart with numbers and dates in the format of the language."""
    localized: Chart = chart.configure(locale=_LOCALES[texts.language]) if texts.language in _LOCALES else chart
    return localized


# --- comparison of versions -----------------------------------------------------------------------------------------------


def intervals(rows: Rows, texts: Texts, *, axis: str) -> Chart:
    """One metric of each version with its confidence interval. rows: version, order, value, low, high, marked."""
    base = _chart(rows).encode(
        y=alt.Y("version:N", sort=alt.SortField("order", order="descending"), title=None, axis=alt.Axis(grid=False)),
        color=alt.condition("datum.marked", alt.value(_colour("mark")), alt.value(_colour("soft"))),
        tooltip=[
            alt.Tooltip("version:N", title=texts["models.version"]),
            alt.Tooltip("value:Q", title=axis, format=".2%"),
            alt.Tooltip("low:Q", title=texts["models.low"], format=".2%"),
            alt.Tooltip("high:Q", title=texts["models.high"], format=".2%"),
        ],
    )
    span = base.mark_rule(strokeWidth=3, strokeCap="round", opacity=0.45).encode(
        x=alt.X("low:Q", title=None, scale=alt.Scale(zero=False, nice=True, padding=12), axis=alt.Axis(format="%", tickCount=5)),
        x2="high:Q",
    )
    layers: Chart = span + base.mark_point(filled=True, size=110, opacity=1).encode(x="value:Q")
    return layers


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], texts: Texts) -> Chart:
    """Confusion matrix, shaded by the share within each true label. matrix: indexed by (prediction, label)."""
    sums = [max(1, sum(row[column] for row in matrix)) for column in range(len(labels))]
    rows = [
        {"prediction": prediction, "label": label, "times": matrix[i][j], "share": matrix[i][j] / sums[j]}
        for i, prediction in enumerate(labels)
        for j, label in enumerate(labels)
    ]
    order = list(labels)
    has_numbers = len(labels) <= _MAX_LABELS_WITH_NUMBERS
    angle = 0 if max(map(len, order)) <= 3 else -40
    base = _chart(rows).encode(
        x=alt.X("label:N", sort=order, title=texts["models.truth"], axis=alt.Axis(labelAngle=angle, grid=False, labelLimit=90)),
        y=alt.Y("prediction:N", sort=order, title=texts["models.said"], axis=alt.Axis(grid=False, labelLimit=90)),
        tooltip=[
            alt.Tooltip("label:N", title=texts["models.truth"]),
            alt.Tooltip("prediction:N", title=texts["models.said"]),
            alt.Tooltip("times:Q", title=texts["models.rows"], format=","),
            alt.Tooltip("share:Q", title=texts["models.share"], format=".1%"),
        ],
    )
    shade = base.mark_rect(color=_colour("mark"), cornerRadius=2, stroke=None).encode(
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 1]), legend=None)
    )
    numbers = base.mark_text(fontSize=11).encode(
        text=alt.condition("datum.times > 0", alt.Text("times:Q", format=","), alt.value("")),
        color=alt.condition("datum.share > 0.5", alt.value(_colour("on_mark")), alt.value(_colour("ink"))),
    )
    layers: Chart = alt.layer(shade, numbers) if has_numbers else alt.layer(shade)
    return layers


def calibration(rows: Rows, versions: Sequence[str], texts: Texts) -> Chart:
    """Reliability diagram: accuracy by confidence; the dashed line is perfect calibration.

    rows: version, confidence, accuracy, times, run; lines connect the points of one run.
    """
    diagonal = _chart([{"at": 0.0}, {"at": 1.0}]).mark_line(strokeDash=[4, 4], color=_colour("soft"), opacity=0.7)
    base = _chart(rows).encode(
        x=alt.X("confidence:Q", title=texts["models.confidence"], scale=alt.Scale(domain=[0, 1]), axis=_percent_axis()),
        y=alt.Y("accuracy:Q", title=texts["models.right"], scale=alt.Scale(domain=[0, 1]), axis=_percent_axis()),
        color=_by_version(versions),
    )
    dots = base.mark_point(filled=True, opacity=0.9).encode(
        size=alt.Size("times:Q", scale=alt.Scale(range=[25, 350]), legend=None),
        tooltip=[
            alt.Tooltip("version:N", title=texts["models.version"]),
            alt.Tooltip("confidence:Q", title=texts["models.confidence"], format=".1%"),
            alt.Tooltip("accuracy:Q", title=texts["models.right"], format=".1%"),
            alt.Tooltip("times:Q", title=texts["models.rows"], format=","),
        ],
    )
    layers: Chart = diagonal.encode(x="at:Q", y="at:Q") + base.mark_line(opacity=0.5).encode(detail="run:N") + dots
    return layers


def per_label(rows: Rows, versions: Sequence[str], texts: Texts) -> Chart:
    """F1 score of each label, by version. rows: version, label, f1, precision, recall, times."""
    order = list(dict.fromkeys(row["label"] for row in rows))
    layers: Chart = (
        _chart(rows)
        .mark_point(filled=True, size=90, opacity=0.85)
        .encode(
            x=alt.X("f1:Q", title="F1", scale=alt.Scale(zero=False, nice=True, padding=8), axis=alt.Axis(format="%", tickCount=5)),
            y=alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=130)),
            color=_by_version(versions),
            tooltip=[
                alt.Tooltip("version:N", title=texts["models.version"]),
                alt.Tooltip("label:N", title=texts["models.label"]),
                alt.Tooltip("f1:Q", title="F1", format=".1%"),
                alt.Tooltip("precision:Q", title=texts["models.precision"], format=".1%"),
                alt.Tooltip("recall:Q", title=texts["models.recall"], format=".1%"),
                alt.Tooltip("times:Q", title=texts["models.rows"], format=","),
            ],
        )
    )
    return layers


# --- traffic over time ----------------------------------------------------------------------------------------------------


def requests(rows: Rows, versions: Sequence[str], texts: Texts, *, span: Sequence[str]) -> Chart:
    """Requests per time bucket, stacked by version. rows: at, end, version, requests, errors."""
    layers: Chart = (
        _chart(_stacked(rows, "requests"))
        .mark_rect()
        .encode(
            x=_time_axis(span),
            x2="end:T",
            y=alt.Y("low:Q", title=None, axis=alt.Axis(format="~s", tickMinStep=1, tickCount=4)),
            y2="high:Q",
            color=_by_version(versions),
            tooltip=[
                _time_tooltip(texts),
                alt.Tooltip("version:N", title=texts["models.version"]),
                alt.Tooltip("requests:Q", title=texts["traffic.requests"], format=","),
                alt.Tooltip("errors:Q", title=texts["traffic.errors"], format=","),
            ],
        )
    )
    return layers


def errors(rows: Rows, texts: Texts, *, span: Sequence[str]) -> Chart:
    """Errors per time bucket. rows: at, end, version, errors."""
    layers: Chart = (
        _chart(_stacked(rows, "errors"))
        .mark_rect(color=_colour("bad"))
        .encode(
            x=_time_axis(span),
            x2="end:T",
            y=alt.Y("low:Q", title=None, axis=alt.Axis(format="~s", tickMinStep=1, tickCount=3)),
            y2="high:Q",
            tooltip=[
                _time_tooltip(texts),
                alt.Tooltip("version:N", title=texts["models.version"]),
                alt.Tooltip("errors:Q", title=texts["traffic.errors"], format=","),
            ],
        )
    )
    return layers


def latency(rows: Rows, versions: Sequence[str], texts: Texts, *, span: Sequence[str]) -> Chart:
    """Latency by version: the line is the median, the band extends to the 95th percentile.

    rows: at, end, middle, version, p50, p95, p99; a bucket without predictions has no row.
    """
    base = _chart(_in_runs(rows)).encode(
        x=_time_axis(span, field="middle"),
        color=_by_version(versions),
        detail="run:N",
        tooltip=[
            _time_tooltip(texts),
            alt.Tooltip("version:N", title=texts["models.version"]),
            *(alt.Tooltip(f"{name}:Q", title=f"{name} (ms)", format=",.2~f") for name in ("p50", "p95", "p99")),
        ],
    )
    scale = alt.Y("p50:Q", title="ms", axis=alt.Axis(format=",~f", tickCount=4))
    band = base.mark_area(opacity=0.18).encode(y=scale, y2="p95:Q")
    # A bucket between two gaps has no width, so it gets a rule instead of an area.
    isolated = base.transform_filter("datum.alone").mark_rule(opacity=0.3, strokeWidth=3).encode(y=scale, y2="p95:Q")
    layers: Chart = band + isolated + base.mark_line().encode(y=scale) + _dots(base).encode(y=scale)
    return layers


def confidence(rows: Rows, versions: Sequence[str], texts: Texts, *, span: Sequence[str]) -> Chart:
    """Mean confidence of each version over time. rows: at, end, middle, version, confidence_mean, uncertain_share."""
    base = _chart(_in_runs(rows)).encode(
        x=_time_axis(span, field="middle"),
        # Confidences close to 1: two decimal places, where a plain "%" format would write six.
        y=alt.Y("confidence_mean:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(format=".2~%", tickCount=4)),
        color=_by_version(versions),
        detail="run:N",
        tooltip=[
            _time_tooltip(texts),
            alt.Tooltip("version:N", title=texts["models.version"]),
            alt.Tooltip("confidence_mean:Q", title=texts["traffic.confidence"], format=".1%"),
            alt.Tooltip("uncertain_share:Q", title=texts["traffic.uncertain"], format=".1%"),
        ],
    )
    layers: Chart = base.mark_line() + _dots(base)
    return layers


def confidence_histogram(rows: Rows, versions: Sequence[str], texts: Texts) -> Chart:
    """Histogram of the confidences of each version. rows: version, low, high, share."""
    layers: Chart = (
        _chart(rows)
        .mark_area(interpolate="step-after", opacity=0.22, line=True)
        .encode(
            x=alt.X("low:Q", title=texts["models.confidence"], scale=alt.Scale(domain=[0, 1]), axis=_percent_axis()),
            y=alt.Y("share:Q", title=texts["traffic.of_answers"], stack=None, axis=alt.Axis(format="%", tickCount=4)),
            color=_by_version(versions),
            tooltip=[
                alt.Tooltip("version:N", title=texts["models.version"]),
                alt.Tooltip("low:Q", title=texts["models.low"], format=".0%"),
                alt.Tooltip("high:Q", title=texts["models.high"], format=".0%"),
                alt.Tooltip("share:Q", title=texts["traffic.of_answers"], format=".1%"),
            ],
        )
    )
    return layers


# --- shared parts ---------------------------------------------------------------------------------------------------------


def _chart(rows: Rows) -> alt.Chart:
    # As a plain list, Altair would reject more than 5000 rows.
    return alt.Chart(alt.InlineData(values=rows))


def _by_version(versions: Sequence[str]) -> alt.Color:
    # The scale contains every version up to the latest, so that a colour does not depend on the versions of the time span.
    latest = max((int(version.lstrip("v")) for version in versions), default=0)
    scale = alt.Scale(domain=[f"v{number}" for number in range(1, latest + 1)])
    if len(versions) < _MIN_LEGEND:
        return alt.Color("version:N", scale=scale, legend=None)
    legend = alt.Legend(
        orient="top", title=None, symbolType="circle", symbolOpacity=1, columns=6, offset=6, padding=0, values=list(versions)
    )
    return alt.Color("version:N", scale=scale, legend=legend)


def _in_runs(rows: Rows) -> Rows:
    """Adds to each row its `run`, a sequence of adjacent buckets of a version; `alone`, for a run of one; and `dot`, drawn as a point."""
    ends: dict[str, datetime] = {}
    runs: dict[str, int] = {}
    result = []
    for row in sorted(rows, key=lambda row: datetime.fromisoformat(row["at"])):
        version = row["version"]
        if ends.get(version) != datetime.fromisoformat(row["at"]):
            runs[version] = runs.get(version, 0) + 1
        ends[version] = datetime.fromisoformat(row["end"])
        result.append({**row, "run": f"{version}/{runs[version]}"})
    lengths = Counter(row["run"] for row in result)
    few = len(result) <= _MAX_DOTS
    return [{**row, "alone": lengths[row["run"]] == 1, "dot": few or lengths[row["run"]] == 1} for row in result]


def _time_axis(span: Sequence[str], *, field: str = "at") -> alt.X:
    axis = alt.Axis(format=_TICK_FORMATS, grid=False, labelOverlap=True, tickCount=6)
    return alt.X(f"{field}:T", title=None, axis=axis, scale=alt.Scale(domain=list(span)))


def _stacked(rows: Rows, field: str) -> Rows:
    """Adds `low` and `high` to each row, so that the rows of one bucket are stacked."""
    tops: dict[str, int] = {}
    stacked = []
    for row in rows:
        low = tops.get(row["at"], 0)
        tops[row["at"]] = low + row[field]
        stacked.append({**row, "low": low, "high": low + row[field]})
    return stacked


def _dots(base: alt.Chart) -> alt.Chart:
    """Points on a line: all rows if there are few, else only isolated rows, which a line would not show."""
    dots: alt.Chart = base.transform_filter("datum.dot").mark_point(size=22, filled=True, opacity=1)
    return dots


def _time_tooltip(texts: Texts) -> alt.Tooltip:
    return alt.Tooltip("at:T", title=texts["traffic.from"], format="%-d %b, %H:%M %Z")


def _percent_axis() -> alt.Axis:
    return alt.Axis(format="%", tickCount=5)


def _colour(name: str) -> str:
    return (_DARK if st.context.theme.type == "dark" else _LIGHT)[name]


_MONTHS_ES = ["enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto"]
_MONTHS_ES += ["septiembre", "octubre", "noviembre", "diciembre"]
_DAYS_ES = ["domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"]
#: In the format of d3: https://github.com/d3/d3-format and d3-time-format.
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
