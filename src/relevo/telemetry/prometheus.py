"""All processes' numbers as one page of Prometheus text.

    <boot>.json, <boot>.json, total.json ─ read, sum ─► families ─ prometheus_client ─► bytes

Any worker can answer a scrape for all of them. Counters outlive their process; gauges do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.telemetry.counters import ROWS, SECONDS, added, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from prometheus_client.core import Metric

#: Content type of what `render` gives.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(folder: Path) -> bytes:
    """The sum over every process that counts in this folder, dead ones included. An empty or missing folder gives zeros."""
    # Imported here: it takes longer to load than everything else of the counting.
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_AggregateCollector(folder))
    return generate_latest(registry)


class _AggregateCollector:
    """Collector over a folder; lives as long as one scrape."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> list[Metric]:
        """Names are not asked for in advance: this would read the files twice."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order of the page."""
        live, total = read(self._folder)
        for numbers in live:
            total = added(total, numbers)
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
    for model, version, outcome, _, spent, *counts in total["latencies"]:
        seconds.add_metric([model, str(version), outcome], buckets=_cumulated(SECONDS, counts), sum_value=spent)
    yield seconds
    rows, *counts = total["batches"]
    yield HistogramMetricFamily("relevo_batch_rows", "Rows a model saw at once.", buckets=_cumulated(ROWS, counts), sum_value=rows)


def _gauges(live: list[dict[str, int]]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    ready = bool(live) and all(one["ready"] for one in live)
    yield GaugeMetricFamily("relevo_ready", "1 when every worker can answer.", value=ready)
    yield GaugeMetricFamily("relevo_workers", "Processes that count now.", value=len(live))
    yield GaugeMetricFamily("relevo_queue_rows", "Rows waiting now.", value=sum(one["queue_rows"] for one in live))
    yield GaugeMetricFamily(
        "relevo_journal_backlog_bytes", "Bytes of journals not shipped yet.", value=sum(one["spool_bytes"] for one in live)
    )
    ends = [one["certificate_until"] for one in live if one.get("certificate_until")]
    yield GaugeMetricFamily(
        "relevo_certificate_expires_timestamp_seconds",
        "When the certificate in use ends, since 1970; nothing without one.",
        value=min(ends, default=None),
    )


def _build() -> Metric:
    from prometheus_client.core import InfoMetricFamily

    from relevo import __version__

    return InfoMetricFamily("relevo_build", "The running release.", value={"version": __version__})


def _cumulated(edges: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    reached = 0
    buckets: list[tuple[str, float]] = []
    for edge, count in zip([*map(str, edges), "+Inf"], counts, strict=True):
        reached += count
        buckets.append((edge, reached))
    return buckets
