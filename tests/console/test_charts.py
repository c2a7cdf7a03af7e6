"""Charts: data, formats and colours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("streamlit", reason="the extra 'console' is not installed")

from relevo.console import charts
from relevo.console.components.version_comparison import _calibration
from relevo.console.texts import load_texts

if TYPE_CHECKING:
    from collections.abc import Callable

_SPAN = ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"]
_SLOT = {"at": _SPAN[0], "middle": _SPAN[0], "end": _SPAN[1], "errors": 0}


def rows() -> list[dict[str, object]]:
    return [{**_SLOT, "version": "v1", "requests": 5}, {**_SLOT, "version": "v2", "requests": 3}]


def test_requests_are_stacked_by_version() -> None:
    """In one time bucket the second version starts where the first ends."""
    spec = charts.requests(rows(), ["v1", "v2"], load_texts("en"), span=_SPAN).to_dict()
    assert [(row["low"], row["high"]) for row in spec["datasets"][spec["data"]["name"]]] == [(0, 5), (5, 8)]


def test_a_spanish_chart_has_spanish_formats() -> None:
    """Decimal commas and Spanish names of months."""
    chart = charts.requests(rows(), ["v1", "v2"], load_texts("es"), span=_SPAN)
    locale = charts.localize(chart, load_texts("es")).to_dict()["config"]["locale"]
    assert (locale["number"]["decimal"], locale["time"]["shortMonths"][0]) == (",", "ene")


def test_a_narrow_axis_of_confidence_stays_short() -> None:
    """For confidences close to 1 the axis shows 99.99 %, not 99.990000 %."""
    row = {**_SLOT, "version": "v1", "confidence_mean": 0.9999, "uncertain_share": 0.0}
    spec = charts.confidence([row], ["v1"], load_texts("en"), span=_SPAN).to_dict()
    assert spec["layer"][0]["encoding"]["y"]["axis"]["format"] == ".2~%"


def _minutes(version: str, *minutes: int) -> list[dict[str, object]]:
    """Rows of a version for these minutes."""
    return [
        {
            "at": f"2026-03-01T12:{minute:02}:00Z", "middle": f"2026-03-01T12:{minute:02}:30Z",
            "end": f"2026-03-01T12:{minute + 1:02}:00Z", "version": version, "confidence_mean": 0.9, "uncertain_share": 0.0,
            "p50": 1.0, "p95": 2.0, "p99": 3.0,
        }
        for minute in minutes
    ]  # fmt: skip


@pytest.mark.parametrize("draw", [charts.latency, charts.confidence])
def test_lines_have_gaps_where_data_is_missing(draw: Callable[..., charts.Chart]) -> None:
    """Lines and bands connect adjacent minutes only; a minute between two gaps is a dot."""
    minutes = [*_minutes("v1", 0, 1, 2, 7, 20, 21), *_minutes("v2", 1, 3)]
    spec = draw(minutes[::-1], ["v1", "v2"], load_texts("en"), span=_SPAN).to_dict()
    (rows,) = {json.dumps(rows): rows for rows in spec["datasets"].values()}.values()
    by_minute = {(row["version"], int(row["at"][14:16])): (row["run"], row["alone"], row["dot"]) for row in rows}
    runs: dict[str, list[int]] = {}
    for (_, minute), (run, _, _) in sorted(by_minute.items()):
        runs.setdefault(run, []).append(minute)
    assert list(runs.values()) == [[0, 1, 2], [7], [20, 21], [1], [3]]
    assert [minute for (_, minute), (_, alone, dot) in sorted(by_minute.items()) if alone and dot] == [7, 1, 3]
    for layer in spec["layer"]:
        assert "interpolate" not in (layer["mark"] if isinstance(layer["mark"], dict) else {})
        assert layer["encoding"]["detail"]["field"] == "run"
    many = [row for minute in range(0, 58, 2) for row in _minutes("v1", minute)] * 3
    assert all(row["dot"] for row in next(iter(draw(many, ["v1"], load_texts("en"), span=_SPAN).to_dict()["datasets"].values())))


def test_a_version_has_the_same_colour_in_every_chart() -> None:
    """The position in the scale depends on the version number only; the legend shows only versions with data."""
    scales = []
    for versions in (["v3"], ["v1", "v3"], ["v2", "v3", "v11"]):
        colour = charts.requests(rows(), versions, load_texts("en"), span=_SPAN).to_dict()["encoding"]["color"]
        scales.append(colour["scale"]["domain"])
        assert colour["legend"] is None if len(versions) == 1 else colour["legend"]["values"] == versions
    assert {scale.index("v3") for scale in scales} == {2}


def test_an_empty_bin_of_a_calibration_is_a_gap() -> None:
    """The line is interrupted at bins without predictions."""
    table = {"confidence": [0.1, 0.3, 0.5, 0.7, 0.9], "accuracy": [0.0, 0.5, 0.5, 0.8, 1.0], "count": [4, 3, 0, 0, 9]}
    points = _calibration("v1", {"calibration": table})
    assert [row["run"] for row in points] == ["v1/0", "v1/0", "v1/2"]


def test_charts_load_no_external_data() -> None:
    """The specification of a chart contains no URL."""
    chart = charts.calibration(
        [{"version": "v1", "confidence": 0.9, "accuracy": 0.8, "times": 4, "run": "v1/0"}], ["v1"], load_texts("en")
    )
    spec = chart.to_dict()
    spec.pop("$schema")
    assert "http" not in json.dumps(spec)
