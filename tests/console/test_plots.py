"""Plots carry their data with them, and speak the reader's language."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("streamlit", reason="the extra 'console' is not installed")

from relevo.console import plots
from relevo.console.words import words_of

_SPAN = ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"]
_SLOT = {"at": _SPAN[0], "middle": _SPAN[0], "end": _SPAN[1], "errors": 0}


def rows() -> list[dict[str, object]]:
    return [{**_SLOT, "version": "v1", "requests": 5}, {**_SLOT, "version": "v2", "requests": 3}]


def test_versions_stand_upon_each_other() -> None:
    """In one stretch the second version begins where the first ends."""
    told = plots.requests(rows(), ["v1", "v2"], words_of("en"), span=_SPAN).to_dict()
    assert [(row["low"], row["high"]) for row in told["datasets"][told["data"]["name"]]] == [(0, 5), (5, 8)]


def test_a_spanish_plot_has_spanish_figures() -> None:
    """Numbers and months are written as the page writes them."""
    chart = plots.requests(rows(), ["v1", "v2"], words_of("es"), span=_SPAN)
    locale = plots.spoken(chart, words_of("es")).to_dict()["config"]["locale"]
    assert (locale["number"]["decimal"], locale["time"]["shortMonths"][0]) == (",", "ene")


def test_a_narrow_axis_of_confidence_stays_short() -> None:
    """Where all answers are as good as certain, the axis says 99.99 %, not 99.990000 %."""
    row = {**_SLOT, "version": "v1", "confidence_mean": 0.9999, "uncertain_share": 0.0}
    told = plots.confidence([row], ["v1"], words_of("en"), span=_SPAN).to_dict()
    assert told["encoding"]["y"]["axis"]["format"] == ".2~%"


def test_nothing_is_fetched() -> None:
    """A plot names no address that its data would come from."""
    chart = plots.calibration([{"version": "v1", "confidence": 0.9, "accuracy": 0.8, "times": 4}], ["v1"], words_of("en"))
    told = chart.to_dict()
    told.pop("$schema")
    assert "http" not in json.dumps(told)
