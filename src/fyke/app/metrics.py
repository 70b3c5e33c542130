"""An instance's figures by name, and two ways out: prometheus_client and OpenTelemetry. An app runs without either.

Names end in their unit, as both worlds have it. What is counted since the instance started is a counter; what moves
with its partitions (late rows, partial matches, ...) is a gauge. Every figure has the label `app`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from fyke.app.monitor import Status
from fyke.kafka.consumer import Partition

__all__ = ["METRICS", "Metric", "Observed", "collector", "observe"]

Sample: TypeAlias = "tuple[Mapping[str, str], float]"
Observed: TypeAlias = "Callable[[], Status | None]"
"""Where the figures come from: App.status, say."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure.

    Attributes:
        name: without "fyke_" before it and "_total" behind it.
        kind: "counter" or "gauge".
        help: what it says, with its unit.
        labels: beside `app`.
        samples: its values in a status, each with the labels.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Status], Iterable[Sample]]


def _count(name: str, help: str, value: Callable[[Status], float]) -> Metric:
    return Metric(name, "counter", help, (), lambda status: [({}, value(status))])


def _gauge(name: str, help: str, value: Callable[[Status], float | None]) -> Metric:
    def samples(status: Status) -> list[Sample]:
        known = value(status)
        return [] if known is None else [({}, known)]

    return Metric(name, "gauge", help, (), samples)


def _each(name: str, help: str, values: Callable[[Status], Mapping[Partition, float | None]]) -> Metric:
    def samples(status: Status) -> Iterator[Sample]:
        for partition, value in values(status).items():
            if value is not None:
                yield {"topic": partition.topic, "partition": str(partition.number)}, value

    return Metric(name, "gauge", help, ("topic", "partition"), samples)


def _boxes(status: Status) -> Iterator[Sample]:
    for box, counts in status.boxes.items():
        for what, value in counts.items():
            yield {"box": box, "what": what}, value


def _watermarks(status: Status) -> dict[Partition, float | None]:
    return {p: None if lag is None else status.at - lag for p, lag in status.watermark_lag_s.items()}


def _next_offsets(status: Status) -> dict[Partition, float | None]:
    return {p: each.next for p, each in status.statistics.partitions.items()}


METRICS: Final = (
    _count("records", "records read", lambda s: s.statistics.records),
    _count("rows", "records that could be read as rows", lambda s: s.statistics.rows),
    _count("poison", "records that could not be read", lambda s: s.statistics.poison),
    _count("tombstones", "records without a value", lambda s: s.statistics.tombstones),
    _count("commits", "commits that worked", lambda s: s.statistics.commits),
    _count("aborts", "commits that did not, or that a lost partition took back", lambda s: s.statistics.aborts),
    _count("rebalances", "changes of the partitions", lambda s: s.statistics.rebalances),
    _gauge("written_records", "records handed to the producer in use", lambda s: s.statistics.written),
    _gauge("partitions", "input partitions that are ours", lambda s: len(s.statistics.partitions)),
    _gauge("commit_seconds", "what the last commit took, states saved and all", lambda s: s.statistics.commit_s),
    _gauge("commit_age_seconds", "since the last commit that worked", lambda s: s.statistics.commit_age_s),
    _gauge("state_bytes", "the last states of all tasks that are ours, as saved", lambda s: s.statistics.state_bytes),
    _gauge("engine_bytes", "what the engines hold in memory", lambda s: s.engine_bytes),
    _gauge("late_rows", "rows behind the watermark, of the tasks that are ours", lambda s: s.late),
    _gauge("null_key_rows", "rows without a key that is needed, of the tasks that are ours", lambda s: s.null_keys),
    _each("lag_records", "records that wait in the partition", lambda s: s.lag),
    _each("next_offset", "first offset that is not processed", _next_offsets),
    _each("watermark_seconds", "watermark of the partition, seconds since the epoch", _watermarks),
    _each("watermark_lag_seconds", "how far the watermark is behind the clock", lambda s: s.watermark_lag_s),
    Metric("box_count", "gauge", "what a box counts: partials, windows, keys, ...", ("box", "what"), _boxes),
)  # fmt: skip


def collector(status: Observed) -> Any:
    """Give a collector for a registry of prometheus_client: `registry.register(fyke.app.collector(app.status))`.

    Args:
        status: asked at each scrape; no figures while it gives None.

    Raises:
        ImportError: prometheus_client is not installed.
    """
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    class Collector:
        def collect(self) -> Iterator[Any]:
            now = status()
            if now is None:
                return
            for metric in METRICS:
                family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                made = family(f"fyke_{metric.name}", metric.help, labels=["app", *metric.labels])
                for labels, value in metric.samples(now):
                    made.add_metric([now.app, *(labels[name] for name in metric.labels)], value)
                yield made

        def describe(self) -> list[Any]:
            return []  # so that registering does not collect

    return Collector()


def observe(meter: Any, status: Observed) -> None:
    """Register all figures with a meter of OpenTelemetry, as observable counters and gauges, `fyke.records` and so on.

    Args:
        meter: what `opentelemetry.metrics.get_meter` gives.
        status: asked at each collection; no figures while it gives None.

    Raises:
        ImportError: opentelemetry is not installed.
    """
    from opentelemetry.metrics import Observation

    def callback(metric: Metric) -> Callable[[Any], Iterator[Any]]:
        def observed(_: Any) -> Iterator[Any]:
            now = status()
            if now is None:
                return
            for labels, value in metric.samples(now):
                yield Observation(value, {"app": now.app, **labels})

        return observed

    for metric in METRICS:
        make = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
        make(f"fyke.{metric.name}", [callback(metric)], description=metric.help)
