"""Renders the metrics of all processes as one Prometheus page.

    <boot>.json, <boot>.json, total.json ─ read, sum ─► metric families ─ prometheus_client ─► bytes

Every worker can answer a scrape for all of them. Counters outlive their process; gauges do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.telemetry.counters import ROWS, SECONDS, merge, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from prometheus_client.core import Metric

#: Content type of the page that `render` returns.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(folder: Path) -> bytes:
    """Sums over all processes with a file in this folder, including dead ones. An empty or missing folder gives zeros."""
    # Imported here: it takes longer to load than the rest of the package.
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_AggregateCollector(folder))
    return generate_latest(registry)


class _AggregateCollector:
    """Prometheus collector over a folder. Lifetime: one scrape."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> list[Metric]:
        """Empty, since describing the metrics in advance would read the files twice."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metric families, in the order of the page."""
        live, total = read(self._folder)
        for numbers in live:
            total = merge(total, numbers)
        yield from _counters(total)
        yield from _histograms(total)
        yield from _gauges([numbers["gauges"] for numbers in live])
        yield _build()


def _counters(total: dict[str, Any]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    predictions = CounterMetricFamily(
        "relevo_predictions", "Predictions, by how they ended.", labels=["model", "version", "outcome"]
    )
    for model, version, outcome, rows, *_ in total["latencies"]:
        predictions.add_metric([model, str(version), outcome], rows)
    yield predictions
    refusals = CounterMetricFamily("relevo_request_errors", "Requests refused before a model saw them.", labels=["code"])
    for code, count in sorted(total["refusals"].items()):
        refusals.add_metric([code], count)
    yield refusals
    yield CounterMetricFamily("relevo_model_swaps", "Times a worker handed a model over to another version.", value=total["swaps"])


def _histograms(total: dict[str, Any]) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily

    seconds = HistogramMetricFamily(
        "relevo_request_duration_seconds",
        "Time from the parsed request to its recorded answer.",
        labels=["model", "version", "outcome"],
    )
    for model, version, outcome, _, total_s, *counts in total["latencies"]:
        seconds.add_metric([model, str(version), outcome], buckets=_cumulative(SECONDS, counts), sum_value=total_s)
    yield seconds
    rows, *counts = total["batches"]
    yield HistogramMetricFamily("relevo_batch_rows", "Rows a model saw at once.", buckets=_cumulative(ROWS, counts), sum_value=rows)


def _gauges(live: list[dict[str, int]]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    ready = bool(live) and all(gauges["ready"] for gauges in live)
    yield GaugeMetricFamily("relevo_ready", "1 when every worker can answer.", value=ready)
    yield GaugeMetricFamily("relevo_workers", "Processes that count now.", value=len(live))
    yield GaugeMetricFamily("relevo_queue_rows", "Rows waiting now.", value=sum(gauges["queue_rows"] for gauges in live))
    yield GaugeMetricFamily(
        "relevo_journal_backlog_bytes", "Bytes of journals not shipped yet.", value=sum(gauges["spool_bytes"] for gauges in live)
    )
    expiries = [gauges["certificate_until"] for gauges in live if gauges.get("certificate_until")]
    yield GaugeMetricFamily(
        "relevo_certificate_expires_timestamp_seconds",
        "When the certificate in use ends, since 1970; nothing without one.",
        value=min(expiries, default=None),
    )


def _build() -> Metric:
    from prometheus_client.core import InfoMetricFamily

    from relevo import __version__

    return InfoMetricFamily("relevo_build", "The running release.", value={"version": __version__})


def _cumulative(edges: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    cumulative = 0
    buckets: list[tuple[str, float]] = []
    for edge, count in zip([*map(str, edges), "+Inf"], counts, strict=True):
        cumulative += count
        buckets.append((edge, cumulative))
    return buckets
